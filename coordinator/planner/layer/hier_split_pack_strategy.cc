#include "coordinator/planner/layer/hier_split_pack.h"
#include "coordinator/planner/layer/layer_strategy.h"
#include "coordinator/planner/layer/relabel.h"

namespace ballast {
namespace {

constexpr double kMinGain = 0.002;

class HierSplitPackStrategy final : public LayerStrategy {
 public:
  std::optional<LayerChoice> Choose(const LayerView& view) const override {
    const LayerTask& task = view.task;
    if (task.total_load() == 0) return std::nullopt;
    const SlotTable table = HierSplitPack(task);
    if (!CheckTable(task, view.current).ok()) return LayerChoice{table, {}};
    if (PlacedBound(task, table) > (1 - kMinGain) * PlacedBound(task, view.current)) return std::nullopt;
    return LayerChoice{Relabel(task, view.current, table, true), {}};
  }
};

}  // namespace

LayerStrategyPtr MakeHierSplitPackStrategy() { return std::make_shared<HierSplitPackStrategy>(); }

}  // namespace ballast
