// The part of an explanation that every planner shares.
#pragma once

#include <vector>

#include "coordinator/planner/explanation.h"
#include "coordinator/planner/layer/layer_task.h"
#include "coordinator/planner/planner.h"

namespace ballast {

// One layer with `load` on the ranks and slots of `input`. Ranks below kDrainSpeed have no slots, slowest
// first, as long as the others can hold all experts.
LayerTask TaskOf(const PlanInput& input, std::vector<int64_t> load);

// Load, bound and the imbalance before; also as the one after, until something is chosen. `current` is the
// plan that runs and `layer` an index into it.
LayerExplanation ExplainLayer(const LayerTask& task, const PlanBody& current, size_t layer);

}  // namespace ballast
