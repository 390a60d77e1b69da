// Token embedding and its gradient.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/types.h"

namespace ballast::kernels {

// out [rows, row_bytes]: the table's row of each id.
void EmbeddingForward(int64_t rows, int64_t row_bytes, const int32_t* ids, const void* table, void* out,
                      Stream stream);

// Device memory that EmbeddingBackward needs while it runs.
size_t EmbeddingBackwardScratchBytes(int64_t rows, int64_t vocabulary);

// table_gradient [vocabulary, columns] += the rows of out_gradient [rows, columns] of each id, in row order.
template <class T>
void EmbeddingBackward(int64_t rows, int64_t columns, int64_t vocabulary, const int32_t* ids,
                       const T* out_gradient, T* table_gradient, void* scratch, Stream stream);

}  // namespace ballast::kernels
