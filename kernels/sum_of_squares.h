// Sum of squares, in double.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/types.h"

namespace ballast::kernels {

// Device memory that SumOfSquares needs while it runs.
size_t SumOfSquaresScratchBytes();

// *out is memory that the device can write, host memory that is mapped included.
template <class T>
void SumOfSquares(int64_t elements, const T* x, void* scratch, double* out, Stream stream);

}  // namespace ballast::kernels
