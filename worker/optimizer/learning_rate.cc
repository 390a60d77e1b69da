#include "worker/optimizer/learning_rate.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace ballast {

double LearningRate(const OptimizerConfig& config, int64_t steps, Step step) {
  BALLAST_CHECK(step.value() >= 1) << "step " << step;
  if (step.value() <= config.warmup_steps) {
    return config.learning_rate * static_cast<double>(step.value()) /
           static_cast<double>(config.warmup_steps);
  }
  if (step.value() >= steps) return config.learning_rate_min;
  const double progress = static_cast<double>(step.value() - config.warmup_steps) /
                          static_cast<double>(steps - config.warmup_steps);
  const double fall = 0.5 * (1 + std::cos(progress * 3.141592653589793));
  return config.learning_rate_min + (config.learning_rate - config.learning_rate_min) * fall;
}

}  // namespace ballast
