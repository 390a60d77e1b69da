#include "coordinator/planner/explain_layer.h"

#include <utility>

#include "coordinator/planner/calibration/calibration.h"
#include "coordinator/planner/layer/bounds.h"
#include "coordinator/planner/layer/slow_ranks.h"
#include "plan/load.h"

namespace ballast {

LayerTask TaskOf(const PlanInput& input, std::vector<int64_t> load) {
  LayerTask task;
  task.load = std::move(load);
  task.speeds = input.speeds;
  task.slots.assign(input.speeds.size(), input.limits.slots_per_rank);
  for (NodeId node : input.topology.node_of_rank) task.node_of_rank.push_back(node.value());
  DrainBelow(task.speeds, kDrainSpeed * kHealthySpeed, task);
  return task;
}

LayerExplanation ExplainLayer(const LayerTask& task, const PlanBody& current, size_t layer) {
  LayerExplanation explanation;
  explanation.load = task.load;
  if (task.total_load() == 0) return explanation;
  explanation.bound = SlotBound(task) / PerfectBound(task);
  explanation.imbalance_before =
      LayerImbalance(task.load, current.layers[layer], current.speeds, task.speeds);
  explanation.imbalance_after = explanation.imbalance_before;
  return explanation;
}

}  // namespace ballast
