// Longest first, then exchanges from the busiest rank until none helps; adopted when the busiest rank's load
// falls by half a percent. No copies.
#include "coordinator/planner/layer/exchange.h"
#include "coordinator/planner/layer/layer_strategy.h"
#include "coordinator/planner/layer/relabel.h"

namespace ballast {
namespace {

constexpr double kMinGain = 0.005;

class LptSwapStrategy final : public LayerStrategy {
 public:
  std::optional<LayerChoice> Choose(const LayerView& view) const override {
    const LayerTask& task = view.task;
    if (task.total_load() == 0) return std::nullopt;
    ExchangeOptions options;
    options.evaluations_max = view.evaluations_max * 64;
    const SlotTable table = Exchange(task, LongestFirst(task, &view.current), options);
    const bool usable = CheckTable(task, view.current).ok();
    if (usable && PlacedBound(task, table) > (1 - kMinGain) * PlacedBound(task, view.current)) {
      return std::nullopt;
    }
    return LayerChoice{Relabel(task, view.current, table, false), {}};
  }
};

}  // namespace

LayerStrategyPtr MakeLptSwapStrategy() { return std::make_shared<LptSwapStrategy>(); }

}  // namespace ballast
