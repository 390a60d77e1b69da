// Measured expert loads and what they say about balance.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "plan/plan.h"

namespace ballast {

// Assignments per (layer, expert) of one step, summed over all ranks and microbatches.
struct StepLoad {
  Step step;
  std::vector<std::vector<int64_t>> tokens;  // [layer][expert]
};

// max / mean of rank loads; 1 when nothing was routed.
double MaxOverMean(const std::vector<int64_t>& rank_tokens);

// Mean over layers of max/mean when each expert's tokens of `load` sit whole on its contiguous rank.
double ContiguousImbalance(const StepLoad& load, int ranks);

// Mean over layers of max/mean when `load` is split over the plan's slots in the best way (exact split, as one microbatch).
double PlannedImbalance(const StepLoad& load, const PlanBody& plan);

}  // namespace ballast
