// SplitPack every time it is asked, relabelled; the unbounded planner to compare bounded ones with.
#include "coordinator/planner/layer/exchange.h"
#include "coordinator/planner/layer/layer_strategy.h"
#include "coordinator/planner/layer/relabel.h"
#include "coordinator/planner/layer/split_pack.h"

namespace ballast {
namespace {

// What the current placement may lie above the new one without being replaced.
constexpr double kMinGain = 0.002;

class SplitPackStrategy final : public LayerStrategy {
 public:
  std::optional<LayerChoice> Choose(const LayerView& view) const override {
    const LayerTask& task = view.task;
    if (task.total_load() == 0) return std::nullopt;
    const SlotTable table = task.spare_slots() > 0
                                ? SplitPackFilled(task, view.seed)
                                : Exchange(task, LongestFirst(task, &view.current), ExchangeOptions());
    const bool usable = CheckTable(task, view.current).ok();
    if (usable && PlacedBound(task, table) > (1 - kMinGain) * PlacedBound(task, view.current)) {
      return std::nullopt;
    }
    return LayerChoice{Relabel(task, view.current, table, false), {}};
  }
};

}  // namespace

LayerStrategyPtr MakeSplitPackStrategy() { return std::make_shared<SplitPackStrategy>(); }

}  // namespace ballast
