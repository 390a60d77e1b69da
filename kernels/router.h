// Router: softmax over the experts, the top k of it renormalised, and the gradient. Float whatever the
// compute type is.
#pragma once

#include <cstdint>

#include "kernels/types.h"

namespace ballast::kernels {

// Most experts that the router takes.
constexpr int kRouterExpertsMax = 2048;

// logits, probabilities and their gradients [rows, experts]; chosen, weights and theirs [rows, top_k];
// log_sum_exp [rows].
struct RouterShape {
  int64_t rows = 0;
  int experts = 0;  // at most kRouterExpertsMax
  int top_k = 0;
};

// Chooses by the logits themselves; a NaN is below every number, so the choice is in bounds and without
// repetition whatever the logits hold.
void RouterForward(const RouterShape& shape, const float* logits, float* probabilities, int32_t* chosen,
                   float* weights, double* log_sum_exp, Stream stream);

struct RouterGradients {
  const float* weights = nullptr;
  const float* probabilities = nullptr;
  float* logits = nullptr;
};
void RouterBackward(const RouterShape& shape, const float* probabilities, const int32_t* chosen,
                    const float* weights, const double* log_sum_exp, double z_scale,
                    const RouterGradients& gradients, Stream stream);

}  // namespace ballast::kernels
