// The list of planner strategies.
#pragma once

#include "base/registry.h"
#include "coordinator/planner/planner.h"

namespace ballast {

PlannerPtr MakeContiguousPlanner();
PlannerPtr MakeGreedyPlanner();

// "contiguous", "greedy", and strategies of layer/ by their names there.
const Registry<PlannerPtr>& Planners();

}  // namespace ballast
