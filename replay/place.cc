#include "replay/place.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/rng.h"
#include "base/status_macros.h"
#include "coordinator/planner/layer/bounds.h"
#include "coordinator/planner/layer/layer_strategy.h"
#include "plan/balance.h"

namespace ballast {
namespace {

absl::Status CheckOptions(const PlaceOptions& options) {
  const auto refuse = [](const std::string& field, int64_t found, const std::string& allowed) {
    return absl::InvalidArgumentError(absl::StrCat(field, ": found ", found, ", allowed is ", allowed));
  };
  if (options.ranks < 1 || options.ranks > kRanksMax) {
    return refuse("gpus", options.ranks, absl::StrCat("1..", kRanksMax));
  }
  if (options.ranks_per_node < 0 || (options.ranks_per_node > 0 && options.ranks % options.ranks_per_node)) {
    return refuse("gpus-per-node", options.ranks_per_node,
                  absl::StrCat("a divisor of ", options.ranks, " gpus"));
  }
  if (options.slots < 1) return refuse("slots", options.slots, "1 or more");
  if (options.evaluations_max < 1) return refuse("budget", options.evaluations_max, "1 or more");
  return absl::OkStatus();
}

// Of all layers. A thousand ranks of 16 slots in 60 layers have a million.
constexpr int64_t kSlotsInAllMax = int64_t{1} << 26;

PlacedLayer PlaceLayer(const LayerTask& task, const LayerStrategy& strategy,
                       const CoactivationMatrix* together, const PlaceOptions& options, uint64_t layer) {
  const SlotTable start = ContiguousTable(task);
  PlacedLayer placed;
  placed.table = start;
  const double perfect = PerfectBound(task);
  if (perfect > 0) {
    placed.bound = SlotBound(task) / perfect;
    const std::vector<std::vector<int64_t>> recent;
    LayerView view{task, start, recent, RelativeCosts(task, options.sync_cost, 0), true};
    view.writes_max = task.ranks() * task.slots[0];
    view.evaluations_max = options.evaluations_max;
    view.seed = HashSeed({options.seed, layer});
    view.together = together;
    if (options.sequences) view.sources = &SourcesOfLayer(*options.sequences, static_cast<size_t>(layer));
    if (std::optional<LayerChoice> choice = strategy.Choose(view)) {
      BALLAST_CHECK_OK(CheckTable(task, choice->table));
      placed.table = std::move(choice->table);
      placed.fractions = std::move(choice->fractions);
    }
    placed.contiguous_imbalance = PlacedBound(task, start) / perfect;
    placed.imbalance = PlacedBound(task, placed.table) / perfect;
  }
  return placed;
}

}  // namespace

absl::Status CheckSampleOf(const std::string& strategy, bool pairs, bool sequences, int nodes) {
  if (strategy != "coactivation" && strategy != "kmeans" && strategy != "genetic") return absl::OkStatus();
  if (!pairs && !(sequences && strategy != "coactivation")) {
    return absl::InvalidArgumentError(
        absl::StrCat("strategy: ", strategy, " needs a co-activation sample, found none"));
  }
  if (nodes < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("gpus-per-node: found one node, ", strategy, " needs several"));
  }
  return absl::OkStatus();
}

absl::Status FitSlots(LayerTask& task, size_t layers) {
  BALLAST_RETURN_IF_ERROR(CheckTask(task));
  int64_t all = 0;
  for (int& slots : task.slots) {
    slots = std::min(slots, task.experts());
    all += slots;
  }
  if (all > kSlotsInAllMax / static_cast<int64_t>(layers)) {
    return absl::InvalidArgumentError(absl::StrCat("slots: found ", all, " of use in each of ", layers,
                                                   " layers, allowed is ", kSlotsInAllMax, " in all layers"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<PlacedLayer>> Place(const std::vector<std::vector<int64_t>>& loads,
                                               const std::vector<CoactivationMatrix>& together,
                                               const PlaceOptions& options) {
  BALLAST_RETURN_IF_ERROR(CheckOptions(options));
  BALLAST_ASSIGN_OR_RETURN(const LayerStrategyPtr strategy, LayerStrategies().Find(options.strategy));
  const int nodes = options.ranks_per_node > 0 ? options.ranks / options.ranks_per_node : 1;
  BALLAST_RETURN_IF_ERROR(
      CheckSampleOf(options.strategy, !together.empty(), options.sequences != nullptr, nodes));
  if (loads.empty()) return absl::InvalidArgumentError("loads: found no layer, allowed is one or more");
  const int per_node = options.ranks_per_node > 0 ? options.ranks_per_node : options.ranks;
  std::vector<PlacedLayer> layers;
  for (size_t l = 0; l < loads.size(); ++l) {
    if (loads[l].size() != loads[0].size()) {
      return absl::InvalidArgumentError(absl::StrCat("loads: layer ", l, ": found ", loads[l].size(),
                                                     " experts, allowed is ", loads[0].size()));
    }
    LayerTask task = UniformTask(loads[l], options.ranks, options.slots, per_node);
    const absl::Status valid = FitSlots(task, loads.size());
    if (!valid.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("layer ", l, ": ", std::string(valid.message())));
    }
    const CoactivationMatrix* pairs = together.empty() ? nullptr : &together[0];
    layers.push_back(PlaceLayer(task, *strategy, pairs, options, l));
  }
  return layers;
}

}  // namespace ballast
