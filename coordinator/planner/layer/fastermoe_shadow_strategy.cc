// FasterMoE's shadowing (He et al., PPoPP 2022): experts stay with their owner, the hottest are also put on
// every other rank; the best prefix of experts by load is kept. Its cost model compares the busiest rank with
// the shadows' weight traffic; here both are in J. A shadow needs a free slot on a rank, so at most the spare
// slots of a rank are shadows. Recomputed every time.
#include <algorithm>
#include <numeric>

#include "coordinator/planner/layer/layer_strategy.h"

namespace ballast {
namespace {

class FasterMoeShadowStrategy final : public LayerStrategy {
 public:
  std::optional<LayerChoice> Choose(const LayerView& view) const override {
    const LayerTask& task = view.task;
    if (task.total_load() == 0) return std::nullopt;
    std::vector<int> order(task.load.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return task.load[a] > task.load[b]; });
    SlotTable table = ContiguousTable(task);
    SlotTable best = table;
    double least = Objective(task, table, view.costs);
    int64_t evaluations = 1;
    for (int e : order) {
      if (!Shadow(table, e) || ++evaluations > view.evaluations_max) break;
      const double value = Objective(task, table, view.costs);
      if (value > least) break;
      least = value;
      best = table;
    }
    if (view.evaluations_used) *view.evaluations_used += evaluations;
    const SlotTable next = KeepIndices(view.current, best);
    if (next == view.current) return std::nullopt;
    return LayerChoice{next, {}};
  }

 private:
  // A slot on every rank with room; false when no rank has any.
  static bool Shadow(SlotTable& table, int expert) {
    bool any = false;
    for (std::vector<int>& row : table) {
      const auto slot = std::find(row.begin(), row.end(), kNoExpert);
      if (slot == row.end() || Holds(row, expert)) continue;
      *slot = expert;
      any = true;
    }
    return any;
  }
};

}  // namespace

LayerStrategyPtr MakeFasterMoeShadowStrategy() { return std::make_shared<FasterMoeShadowStrategy>(); }

}  // namespace ballast
