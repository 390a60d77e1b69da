// What a plan really gained, from the steps that ran before and under it.
#pragma once

#include <deque>

#include "base/ids.h"
#include "coordinator/records.h"
#include "coordinator/retention.h"
#include "plan/job_config.h"

namespace ballast {

// Steps under a plan that are measured, at most; fewer when the next plan comes first.
inline constexpr int64_t kMeasuredStepsMax = 20;

// What was measured of `plan`: the first kMeasuredStepsMax reported steps that ran under it, against the last
// as many under the plan before it, `base` (null: it is a generation's first). `points` are the reported
// steps and `reports` hold their measured loads; what they do not hold any more is not counted.
// complete is not set.
MeasuredGain MeasureGain(const PlanRecord& plan, const PlanBody* base, const JobConfig& job,
                         const std::deque<StepPoint>& points, const StepRing& reports);

}  // namespace ballast
