#include <algorithm>
#include <utility>

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
    int64_t used = 0;
    std::optional<LayerChoice> choice = ChooseAndCount(view, used);
    if (view.evaluations_used) *view.evaluations_used += used;
    return choice;
  }

 private:
  static SlotTable Balance(const LayerView& view, SlotTable table, int64_t evaluations_max, int64_t& used) {
    const int64_t budget = std::min(view.evaluations_max, evaluations_max);
    int64_t left = budget;
    table = BalancePorts(view.task, std::move(table), view.ports, left);
    used += budget - std::max<int64_t>(0, left);
    return table;
  }

  static std::optional<LayerChoice> ChooseAndCount(const LayerView& view, int64_t& used) {
    const LayerTask& task = view.task;
    if (task.total_load() == 0) return std::nullopt;
    const bool usable = CheckTable(task, view.current).ok();
    if (!usable) {
      const SlotTable packed = Balance(view, HierSplitPack(task), kEvaluationsAnew, used);
      return LayerChoice{Relabel(task, view.current, packed, true), {}};
    }
    const double now = PortObjective(task, view.current, view.ports);
    if (!view.pack_anew) {
      SlotTable repaired = Balance(view, view.current, kEvaluations, used);
      const double then = PortObjective(task, repaired, view.ports);
      // Far from what a new packing gives before any search, repairs do not do.
      if (then <= PortObjective(task, HierSplitPack(task), view.ports)) {
        if (then > (1 - kMinGain) * now) return std::nullopt;
        return LayerChoice{KeepIndices(view.current, repaired), {}};
      }
    }
    const SlotTable packed = Balance(view, HierSplitPack(task), kEvaluationsAnew, used);
    if (PortObjective(task, packed, view.ports) > (1 - kMinGain) * now) return std::nullopt;
    return LayerChoice{Relabel(task, view.current, packed, true), {}};
  }
};

}  // namespace

LayerStrategyPtr MakeHierSplitPackStrategy() { return std::make_shared<HierSplitPackStrategy>(); }

}  // namespace ballast
