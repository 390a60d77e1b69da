// RMSNorm, forward and backward.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/types.h"

namespace ballast::kernels {

// x and out [rows, columns], weight [columns], inverse_rms [rows].
template <class T>
void RmsNormForward(int64_t rows, int64_t columns, const T* x, const T* weight, double epsilon, T* out,
                    double* inverse_rms, Stream stream);

// Device memory that RmsNormBackward needs while it runs.
size_t RmsNormBackwardScratchBytes(int64_t rows, int64_t columns);

// Adds to x_gradient and weight_gradient.
template <class T>
void RmsNormBackward(int64_t rows, int64_t columns, const T* x, const T* weight, const double* inverse_rms,
                     const T* out_gradient, T* x_gradient, T* weight_gradient, void* scratch, Stream stream);

}  // namespace ballast::kernels
