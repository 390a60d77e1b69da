// The constants of one AdamW update as the kernel takes them: in float, worked out in double. Pure.
#pragma once

#include <cmath>

#include "kernels/adamw.h"
#include "worker/backend/backend.h"

namespace ballast {

inline kernels::AdamWFactors AdamWFactorsOf(const AdamWStep& step) {
  const double correction1 = 1 - std::pow(step.beta1, static_cast<double>(step.step));
  const double correction2 = 1 - std::pow(step.beta2, static_cast<double>(step.step));
  return {.beta1 = static_cast<float>(step.beta1),
          .beta2 = static_cast<float>(step.beta2),
          .rest1 = static_cast<float>(1 - step.beta1),
          .rest2 = static_cast<float>(1 - step.beta2),
          .gradient_scale = static_cast<float>(step.gradient_scale),
          .rate = static_cast<float>(step.learning_rate / correction1),
          .root_correction = static_cast<float>(1 / std::sqrt(correction2)),
          .epsilon = static_cast<float>(step.epsilon),
          .keep = static_cast<float>(1 - step.learning_rate * step.weight_decay)};
}

}  // namespace ballast
