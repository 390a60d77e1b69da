// SplitPack when there is no plan worth keeping, else FlowRepair: a few writes when the forecast no longer
// fits.
#include "coordinator/planner/layer/bounds.h"
#include "coordinator/planner/layer/exchange.h"
#include "coordinator/planner/layer/flow_repair.h"
#include "coordinator/planner/layer/layer_strategy.h"
#include "coordinator/planner/layer/relabel.h"
#include "coordinator/planner/layer/split_pack.h"

namespace ballast {
namespace {

// Beyond this the repair may write twice as much.
constexpr double kFarOff = 0.02;

class FlowRepairStrategy final : public LayerStrategy {
 public:
  std::optional<LayerChoice> Choose(const LayerView& view) const override {
    const LayerTask& task = view.task;
    if (task.total_load() == 0) return std::nullopt;
    const bool usable = CheckTable(task, view.current).ok();
    if (usable && task.spare_slots() > 0 && view.pack_anew) {
      if (PlacedBound(task, view.current) <= 1.05 * SlotBound(task)) return std::nullopt;
      return LayerChoice{Relabel(task, view.current, SplitPackFilled(task, view.seed), false), {}};
    }
    RepairOptions options;
    options.writes_max = view.writes_max;
    Repair repair = FlowRepair(task, view.current, options);
    if (repair.unrouted > kFarOff) {
      options.writes_max = 2 * view.writes_max;
      repair = FlowRepair(task, view.current, options);
    }
    if (repair.writes == 0 && usable) return std::nullopt;
    return LayerChoice{std::move(repair.table), {}};
  }
};

}  // namespace

LayerStrategyPtr MakeFlowRepairStrategy() { return std::make_shared<FlowRepairStrategy>(); }

}  // namespace ballast
