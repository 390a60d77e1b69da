#include "coordinator/planner/layerwise.h"

#include <algorithm>

#include "base/rng.h"
#include "coordinator/planner/layer/predictor_bank.h"
#include "plan/home_moves.h"
#include "plan/load.h"

namespace ballast {
namespace {

// What one much replicated slot costs in each step, in balanced steps of its layer, as long as nothing
// measured says otherwise: its gradient is reduced and its weight refreshed.
constexpr double kSyncCost = 0.002;

class LayerwisePlanner final : public Planner {
 public:
  explicit LayerwisePlanner(LayerStrategyPtr strategy) : strategy_(std::move(strategy)) {}

  std::optional<Proposal> Propose(const PlanInput& input) const override {
    if (input.history.samples().empty()) return std::nullopt;
    Proposal proposal;
    proposal.body = input.current;
    proposal.body.speeds = input.speeds;
    double before = 0, after = 0;
    for (size_t l = 0; l < input.current.layers.size(); ++l) {
      LayerPlan& layer = proposal.body.layers[l];
      const std::vector<int64_t> forecast = PlanLayer(input, l, layer);
      before += LayerImbalance(forecast, input.current.layers[l], input.current.speeds, input.speeds);
      after += LayerImbalance(forecast, layer, input.speeds, input.speeds);
    }
    if (proposal.body == input.current) return std::nullopt;
    const double layers = static_cast<double>(input.current.layers.size());
    proposal.imbalance_before = before / layers;
    proposal.imbalance_after = after / layers;
    return proposal;
  }

  std::optional<PlanBody> ProposeHomes(const PlanInput& input) const override {
    PlanBody body = input.current;
    body.homes = BoundHomeMoves(body.homes, PreferredHomes(body, input.layout), input.layout, input.limits);
    if (body.homes == input.current.homes) return std::nullopt;
    return body;
  }

 private:
  // Replaces `layer` (the current one) by what the strategy chooses. Returns the forecast.
  std::vector<int64_t> PlanLayer(const PlanInput& input, size_t l, LayerPlan& layer) const {
    const int looks_ahead = static_cast<int>(std::clamp<int64_t>(input.config.plan_every_steps, 1, 64));
    PredictorBank bank(input.history.experts(), looks_ahead);
    std::vector<std::vector<int64_t>> recent;
    for (const StepLoad& sample : input.history.samples()) {
      bank.Observe(sample.tokens[l]);
      recent.push_back(sample.tokens[l]);
    }
    std::reverse(recent.begin(), recent.end());
    LayerTask task;
    task.load = bank.Forecast();
    task.speeds = input.speeds;
    task.slots.assign(input.speeds.size(), input.limits.slots_per_rank);
    for (NodeId node : input.topology.node_of_rank) task.node_of_rank.push_back(node.value());
    if (task.total_load() == 0) return task.load;

    const SlotTable current = TableOf(layer);
    LayerView view{task, current, recent, RelativeCosts(task, kSyncCost, input.config.slot_write_cost),
                   input.active_since.value() == 0};
    view.seed = HashSeed({static_cast<uint64_t>(input.now.value()), l});
    if (std::optional<LayerChoice> choice = strategy_->Choose(view)) {
      layer.slots = SlotsOf(choice->table);
      layer.split.kind = choice->fractions.empty() ? SplitKind::kExact : SplitKind::kFractions;
      layer.split.fractions = std::move(choice->fractions);
    }
    return task.load;
  }

  const LayerStrategyPtr strategy_;
};

}  // namespace

PlannerPtr MakeLayerwisePlanner(LayerStrategyPtr strategy) {
  return std::make_shared<LayerwisePlanner>(std::move(strategy));
}

}  // namespace ballast
