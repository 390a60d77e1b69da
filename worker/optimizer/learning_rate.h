// Learning rate by step. Pure.
#pragma once

#include "base/ids.h"
#include "plan/job_config.h"

namespace ballast {

// Rises linearly over the warm-up (step 1 has 1/warmup of the peak, step `warmup_steps` all of it), then
// follows half a cosine down to the minimum, reached at `steps`. Requires step >= 1.
double LearningRate(const OptimizerConfig& config, int64_t steps, Step step);

}  // namespace ballast
