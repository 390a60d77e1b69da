// SmartMoE's online placement (Zhai et al., USENIX ATC 2023): experts by falling load to the least loaded
// rank with a slot, a tie goes to the rank that has it; adopted when the largest load falls. No copies. Plans
// from the newest measured period, as the original does, and uses spare slots only as room.
#include "coordinator/planner/layer/exchange.h"
#include "coordinator/planner/layer/layer_strategy.h"

namespace ballast {
namespace {

class SmartMoeStrategy final : public LayerStrategy {
 public:
  std::optional<LayerChoice> Choose(const LayerView& view) const override {
    LayerTask task = view.task;
    if (!view.recent.empty()) task.load = view.recent.front();
    if (task.total_load() == 0) return std::nullopt;
    const SlotTable table = LongestFirst(task, &view.current);
    const bool usable = CheckTable(task, view.current).ok();
    if (usable && PlacedBound(task, table) >= PlacedBound(task, view.current)) return std::nullopt;
    return LayerChoice{KeepIndices(view.current, table), {}};
  }
};

}  // namespace

LayerStrategyPtr MakeSmartMoeStrategy() { return std::make_shared<SmartMoeStrategy>(); }

}  // namespace ballast
