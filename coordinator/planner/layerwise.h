// A LayerStrategy as a Planner: every layer is planned by itself from the same history.
#pragma once

#include "coordinator/planner/layer/layer_strategy.h"
#include "coordinator/planner/planner.h"

namespace ballast {

// Loads are forecast by a PredictorBank over the history; a generation's first plan may write as much as it
// likes. Slots of all ranks are the generation's; costs are in balanced steps of the layer.
PlannerPtr MakeLayerwisePlanner(LayerStrategyPtr strategy);

}  // namespace ballast
