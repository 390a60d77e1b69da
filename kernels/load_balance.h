// Load-balance loss of each sequence, and its gradient to the probabilities.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/types.h"

namespace ballast::kernels {

// probabilities and their gradient [sequences * length, experts]; chosen [sequences * length, top_k]; loss
// [sequences].
struct LoadBalanceShape {
  int64_t sequences = 0;
  int64_t length = 0;
  int experts = 0;  // at most kRouterExpertsMax (router.h)
  int top_k = 0;
};

// Device memory that LoadBalance needs while it runs.
size_t LoadBalanceScratchBytes(const LoadBalanceShape& shape);

void LoadBalance(const LoadBalanceShape& shape, const float* probabilities, const int32_t* chosen,
                 double scale, double* loss, float* probabilities_gradient, void* scratch, Stream stream);

}  // namespace ballast::kernels
