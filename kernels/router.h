// Router: softmax over the experts, the top k of it renormalised, and the gradient.
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
template <class T>
void RouterForward(const RouterShape& shape, const T* logits, T* probabilities, int32_t* chosen, T* weights,
                   double* log_sum_exp, Stream stream);

template <class T>
struct RouterGradients {
  const T* weights = nullptr;
  const T* probabilities = nullptr;
  T* logits = nullptr;
};
template <class T>
void RouterBackward(const RouterShape& shape, const T* probabilities, const int32_t* chosen, const T* weights,
                    const double* log_sum_exp, double z_scale, const RouterGradients<T>& gradients,
                    Stream stream);

}  // namespace ballast::kernels
