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

// The same for ranks of unequal speed: the busiest rank's tokens / speed over (all tokens / all speeds).
double MaxOverMean(const std::vector<int64_t>& rank_tokens, const std::vector<uint32_t>& speeds);

// Mean over layers of max/mean when each expert's tokens of `load` sit whole on its contiguous rank.
double ContiguousImbalance(const StepLoad& load, int ranks);

// max/mean of one layer when `tokens`, by expert, are split over its slots by its split policy (kExact: in
// the best way) as one microbatch. The split counts on `plan_speeds`; ranks really have `speeds`. 1 when
// there are no tokens. Requires a valid plan.
double LayerImbalance(const std::vector<int64_t>& tokens, const LayerPlan& layer,
                      const std::vector<uint32_t>& plan_speeds, const std::vector<uint32_t>& speeds);

// Mean of LayerImbalance over the layers of `plan`; `tokens` is [layer][expert].
double PlannedImbalance(const std::vector<std::vector<int64_t>>& tokens, const PlanBody& plan,
                        const std::vector<uint32_t>& speeds);
// With the plan's own speeds.
double PlannedImbalance(const StepLoad& load, const PlanBody& plan);

}  // namespace ballast
