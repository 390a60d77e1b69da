// Means of squares of runs of doubles: the z loss of a sequence, from its log-sum-exps.
#pragma once

#include <cstdint>

#include "kernels/types.h"

namespace ballast::kernels {

// out[r] = mean of values[r * length + i]^2 over i < length; 0 for a length of 0.
void MeanSquares(const double* values, int64_t runs, int64_t length, double* out, Stream stream);

}  // namespace ballast::kernels
