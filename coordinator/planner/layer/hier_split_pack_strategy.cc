#include <algorithm>

#include "coordinator/planner/layer/hier_split_pack.h"
#include "coordinator/planner/layer/layer_strategy.h"
#include "coordinator/planner/layer/node_ports.h"
#include "coordinator/planner/layer/relabel.h"

namespace ballast {
namespace {

constexpr double kMinGain = 0.01;
// Placements that are looked at: for a start, and for a bounded re-plan.
constexpr int64_t kEvaluationsAnew = 4000, kEvaluations = 600;

class HierSplitPackStrategy final : public LayerStrategy {
 public:
  std::optional<LayerChoice> Choose(const LayerView& view) const override {
    const LayerTask& task = view.task;
    if (task.total_load() == 0) return std::nullopt;
    const bool usable = CheckTable(task, view.current).ok();
    int64_t evaluations = std::min(view.evaluations_max, kEvaluationsAnew);
    if (!usable) return LayerChoice{BalancePorts(task, HierSplitPack(task), view.ports, evaluations), {}};
    const double now = PortObjective(task, view.current, view.ports);
    if (!view.pack_anew) {
      evaluations = std::min(view.evaluations_max, kEvaluations);
      SlotTable repaired = BalancePorts(task, view.current, view.ports, evaluations);
      const double then = PortObjective(task, repaired, view.ports);
      // Far from what a new packing gives before any search, repairs do not do.
      if (then <= PortObjective(task, HierSplitPack(task), view.ports)) {
        if (then > (1 - kMinGain) * now) return std::nullopt;
        return LayerChoice{KeepIndices(view.current, repaired), {}};
      }
      evaluations = std::min(view.evaluations_max, kEvaluationsAnew);
    }
    const SlotTable packed = BalancePorts(task, HierSplitPack(task), view.ports, evaluations);
    if (PortObjective(task, packed, view.ports) > (1 - kMinGain) * now) return std::nullopt;
    return LayerChoice{Relabel(task, view.current, packed, true), {}};
  }
};

}  // namespace

LayerStrategyPtr MakeHierSplitPackStrategy() { return std::make_shared<HierSplitPackStrategy>(); }

}  // namespace ballast
