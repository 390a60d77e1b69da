// RetainedRank: what a rank keeps of a generation that ended under it, for the next one of the same members.
#pragma once

#include <array>

#include "base/clock.h"
#include "base/ids.h"
#include "worker/optimizer/retained.h"
#include "worker/trainer/step_totals.h"

namespace ballast {

// A step that this rank has sent its row of, and may have to report.
struct StepInHand {
  Step step;  // 0 = none
  PlanVersion plan;
  Time begin;
  StepTotals totals;
};

struct RetainedRank {
  RetainedHomes homes;
  std::array<StepInHand, 2> steps;  // the last two
};

}  // namespace ballast
