#include "coordinator/planner/explain_layer.h"

#include <algorithm>
#include <utility>

#include "coordinator/planner/calibration/calibration.h"
#include "coordinator/planner/layer/bounds.h"
#include "plan/load.h"

namespace ballast {

namespace {

void DrainSlow(LayerTask& task) {
  std::vector<size_t> slow;
  for (size_t g = 0; g < task.speeds.size(); ++g) {
    if (task.speeds[g] < kDrainSpeed * kHealthySpeed) slow.push_back(g);
  }
  std::stable_sort(slow.begin(), slow.end(),
                   [&](size_t a, size_t b) { return task.speeds[a] < task.speeds[b]; });
  for (size_t g : slow) {
    const int slots = std::exchange(task.slots[g], 0);
    if (CheckTask(task).ok()) continue;
    task.slots[g] = slots;
    return;
  }
}

}  // namespace

LayerTask TaskOf(const PlanInput& input, std::vector<int64_t> load) {
  LayerTask task;
  task.load = std::move(load);
  task.speeds = input.speeds;
  task.slots.assign(input.speeds.size(), input.limits.slots_per_rank);
  for (NodeId node : input.topology.node_of_rank) task.node_of_rank.push_back(node.value());
  DrainSlow(task);
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
