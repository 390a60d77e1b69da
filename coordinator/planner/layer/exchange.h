// Placement without copies: longest processing time first (Graham, 1969), then exchanges from the busiest
// rank. Within 0.1 % of the bound B2 on recorded loads, so nothing dearer is needed.
#pragma once

#include "coordinator/planner/layer/layer_task.h"

namespace ballast {

// Experts by falling load, each whole, on the rank that then is the least loaded for its speed and has a slot
// left; a tie goes to a rank that holds it in `keep` (may be null), then to the lower rank. One slot per
// expert.
SlotTable LongestFirst(const LayerTask& task, const SlotTable* keep);

struct ExchangeOptions {
  int writes_max = 1 << 30;
  double min_gain = 1e-6;             // each exchange lowers the busiest rank by at least this share
  int64_t evaluations_max = 1 << 22;  // pairs looked at
};

// Exchanges one expert of the busiest rank with one of another rank, or moves it to an empty slot, as long as
// the larger of the two loads falls by min_gain. Among the changes, the one with the least larger load is
// taken. Every expert must have one slot; a rank's tables keep their indices.
SlotTable Exchange(const LayerTask& task, SlotTable table, const ExchangeOptions& options);

}  // namespace ballast
