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
#include "replay/replay_options.h"

namespace ballast {
namespace {

absl::Status CheckOptions(const PlaceOptions& options) {
  BALLAST_RETURN_IF_ERROR(CheckGpus(options.ranks, options.ranks_per_node));
  if (options.slots < 1) return RefuseOption("slots", options.slots, "1 or more");
  if (options.evaluations_max < 1) return RefuseOption("budget", options.evaluations_max, "1 or more");
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

bool UsesSample(const std::string& strategy) {
  const absl::StatusOr<LayerStrategyPtr> found = LayerStrategies().Find(strategy);
  return found.ok() && (*found)->traits().needs_tokens;
}

absl::Status CheckSampleOf(const std::string& strategy, bool pairs, bool sequences, int nodes) {
  if (!UsesSample(strategy)) return absl::OkStatus();
  const bool by_sequences = sequences && (*LayerStrategies().Find(strategy))->traits().chooses_sequences;
  if (!pairs && !by_sequences) {
    return absl::InvalidArgumentError(
        absl::StrCat("strategy: ", strategy, " needs a co-activation sample, found none"));
  }
  if (nodes < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("gpus-per-node: found one node, ", strategy, " needs several"));
  }
  return absl::OkStatus();
}

absl::Status CheckPairs(const std::vector<CoactivationMatrix>& together, int layers, int experts) {
  if (together.size() > 1 && static_cast<int>(together.size()) != layers) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tokens: found ", together.size(), " layers, allowed is 1, or the ", layers, " of the loads"));
  }
  for (const CoactivationMatrix& pairs : together) {
    if (pairs.experts != experts) {
      return absl::InvalidArgumentError(
          absl::StrCat("tokens: found ", pairs.experts, ", allowed is ", experts, " experts"));
    }
  }
  return absl::OkStatus();
}

const CoactivationMatrix* PairsOfLayer(const std::vector<CoactivationMatrix>& together, size_t layer) {
  return together.empty() ? nullptr : &together[together.size() == 1 ? 0 : layer];
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
  BALLAST_RETURN_IF_ERROR(
      CheckPairs(together, static_cast<int>(loads.size()), static_cast<int>(loads[0].size())));
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
    layers.push_back(PlaceLayer(task, *strategy, PairsOfLayer(together, l), options, l));
  }
  return layers;
}

}  // namespace ballast
