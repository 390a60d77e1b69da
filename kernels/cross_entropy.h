// Cross-entropy of a softmax, and its gradient.
#pragma once

#include <cstdint>

#include "kernels/types.h"

namespace ballast::kernels {

// logits and logits_gradient [rows, columns], the same memory or apart; targets and row_loss [rows].
template <class T>
void CrossEntropy(int64_t rows, int64_t columns, const T* logits, const int32_t* targets, double scale,
                  double* row_loss, T* logits_gradient, Stream stream);

}  // namespace ballast::kernels
