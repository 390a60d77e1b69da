// Combine: the weighted sum of the rows that came back for a token, and its gradient.
#pragma once

#include <cstdint>

#include "kernels/types.h"

namespace ballast::kernels {

// Of both directions: rows [tokens * top_k, columns], row_of [tokens * top_k], weights [tokens, top_k].
struct CombineShape {
  int64_t tokens = 0;
  int64_t columns = 0;
  int top_k = 0;
};

template <class T>
void CombineForward(const CombineShape& shape, const T* rows, const int64_t* row_of, const float* weights,
                    T* out, Stream stream);
template <class T>
void CombineBackward(const CombineShape& shape, const T* rows, const int64_t* row_of, const float* weights,
                     const T* out_gradient, T* rows_gradient, float* weights_gradient, Stream stream);

}  // namespace ballast::kernels
