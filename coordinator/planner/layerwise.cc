#include "coordinator/planner/layerwise.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "base/rng.h"
#include "coordinator/planner/explain_layer.h"
#include "coordinator/planner/home_prices.h"
#include "coordinator/planner/layer/affinity.h"
#include "coordinator/planner/layer/node_labels.h"
#include "coordinator/planner/layer/predictor_bank.h"
#include "plan/load.h"

namespace ballast {
namespace {

// What one much replicated slot costs in each step, in balanced steps of its layer, as long as nothing
// measured says otherwise: its gradient is reduced and its weight refreshed.
constexpr double kSyncCost = 0.002;
// Steps whose measured loads a candidate must fit beside the forecast: single steps are noisy, and loads
// drift.
constexpr size_t kWeighedOnRecent = 5;

class LayerwisePlanner final : public Planner {
 public:
  explicit LayerwisePlanner(LayerStrategyPtr strategy) : strategy_(std::move(strategy)) {}

  StrategyTraits traits() const override { return strategy_->traits(); }

  std::string WaitsFor(const PlanInput& input) const override {
    if (!traits().needs_tokens) return "";
    if (input.topology.nodes() < 2)
      return "all ranks are on one node: no expert can come nearer to those that are chosen beside it";
    const size_t found = input.tokens != nullptr ? input.tokens->sequences().size() : 0;
    if (found >= TokenSample::kSequencesNeeded) return "";
    return absl::StrFormat("waits for a sample of tokens: %d of %d sequences", found,
                           TokenSample::kSequencesNeeded);
  }

  Proposal Propose(const PlanInput& input) const override {
    Proposal proposal;
    if (input.history.samples().empty()) return proposal;
    proposal.explanation.prices = PricesText(input);
    PlanBody body = input.current;
    body.speeds = input.speeds;
    const double layers = static_cast<double>(input.current.layers.size());
    const std::string waits = WaitsFor(input);
    proposal.imbalance_before = proposal.imbalance_after = 0;
    proposal.explanation.evaluations_max = input.evaluations_max * Searches(input);
    for (size_t l = 0; l < input.current.layers.size(); ++l) {
      if (input.given_up != nullptr && (*input.given_up)()) return {};
      proposal.explanation.layers.push_back(
          PlanLayer(input, l, waits, body.layers[l], proposal.explanation.evaluations));
      proposal.imbalance_before += proposal.explanation.layers.back().imbalance_before / layers;
      proposal.imbalance_after += proposal.explanation.layers.back().imbalance_after / layers;
    }
    if (waits.empty() && body != input.current) proposal.body = std::move(body);
    return proposal;
  }

  std::optional<PlanBody> ProposeHomes(const PlanInput& input) const override {
    return HomesThatFollow(input);
  }

 private:
  static int64_t CountHeld(const std::vector<int>& row) {
    return std::count_if(row.begin(), row.end(), [](int expert) { return expert != kNoExpert; });
  }

  static PortCosts PortsOf(const PlanInput& input) {
    const std::vector<std::string>& names = input.limits.all_to_alls;
    PortCosts ports{input.port_cost, input.port_slowdowns};
    ports.rails = std::find(names.begin(), names.end(), kRails) != names.end();
    if (input.nic_byte_cost > 0) ports.inside = input.node_byte_cost / input.nic_byte_cost;
    return ports;
  }

  // Replaces `layer` (the current one) by what the strategy chooses, unless it waits for something; adds to
  // `evaluations`.
  LayerExplanation PlanLayer(const PlanInput& input, size_t l, const std::string& waits, LayerPlan& layer,
                             int64_t& evaluations) const {
    const int looks_ahead = static_cast<int>(std::clamp<int64_t>(input.config.plan_every_steps, 1, 64));
    PredictorBank bank(input.history.experts(), looks_ahead);
    std::vector<std::vector<int64_t>> recent;
    for (const StepLoad& sample : input.history.samples()) {
      bank.Observe(sample.tokens[l]);
      recent.push_back(sample.tokens[l]);
    }
    std::reverse(recent.begin(), recent.end());
    const LayerTask task = TaskOf(input, bank.Forecast());
    LayerExplanation explanation = ExplainLayer(task, input.current, l);
    if (task.total_load() == 0) {
      explanation.why = "no load is expected";
      return explanation;
    }
    if (!waits.empty()) {
      explanation.why = waits;
      return explanation;
    }

    SlotTable current = TableOf(layer);
    for (size_t g = 0; g < current.size(); ++g) {
      // A drained rank that holds nothing is as the task wants it.
      if (task.slots[g] == 0 && CountHeld(current[g]) == 0) current[g].clear();
    }
    std::optional<HomePricing> pricing;
    LayerView view{task, current, recent, RelativeCosts(task, kSyncCost, input.config.slot_write_cost),
                   input.active_since.value() == 0};
    view.seed = HashSeed({static_cast<uint64_t>(input.now.value()), l});
    view.evaluations_max = input.evaluations_max;
    view.evaluations_used = &evaluations;
    view.weighed = &explanation.candidates;
    view.weighed_on_recent = kWeighedOnRecent;
    if (input.port_cost > 0) {
      view.ports = PortsOf(input);
      view.costs.ports = view.ports;
      view.costs.ports.port *= view.costs.load;
    }
    pricing = HomePricingOf(input, l, RowCost(input, l));
    if (pricing) {
      view.costs.homes = &*pricing;
      view.costs.life = static_cast<double>(std::max<int64_t>(1, input.config.horizon_steps));
    }
    const auto cost = [&](const SlotTable& table) {
      return WeighParts(task, recent, kWeighedOnRecent, current, table, view.costs);
    };
    std::optional<CoactivationMatrix> together;
    if (traits().needs_tokens) {
      together = input.tokens->Together(static_cast<int>(l), TokenSample::Half::kPlanned);
      view.together = &*together;
    }
    std::optional<LayerChoice> choice = strategy_->Choose(view);
    explanation.candidates.push_back(Weighed(task, current, kAsItIs, current, cost(current)));
    LayerCandidate& stays = explanation.candidates.back();
    if (!choice || choice->table == current) {
      stays.chosen = true;
      explanation.why = "nothing that was weighed pays for its writes";
    } else {
      explanation.why =
          ChosenText(Weighed(task, current, "the strategy's", choice->table, cost(choice->table)),
                     explanation.candidates);
    }
    if (together) {
      const double now = PairsInside(*together, LabelsOf(task, current));
      const double then = choice ? PairsInside(*together, LabelsOf(task, choice->table)) : now;
      explanation.why =
          absl::StrFormat("of the pairs that tokens chose %.3f lie on one node, with this %.3f; %s", now,
                          then, explanation.why);
    }
    TrimCandidates(explanation.candidates);
    if (choice) {
      for (std::vector<int>& row : choice->table)
        row.resize(static_cast<size_t>(input.limits.slots_per_rank), kNoExpert);
      for (std::vector<uint32_t>& row : choice->fractions)
        row.resize(static_cast<size_t>(input.limits.slots_per_rank), 0);
      layer.slots = SlotsOf(choice->table);
      layer.split.kind = choice->fractions.empty() ? SplitKind::kExact : SplitKind::kFractions;
      layer.split.fractions = std::move(choice->fractions);
    }
    explanation.imbalance_after = LayerImbalance(task.load, layer, input.speeds, input.speeds);
    return explanation;
  }

  // Marks the candidate that was chosen, or adds it where the strategy weighed none.
  static std::string ChosenText(const LayerCandidate& chosen, std::vector<LayerCandidate>& candidates) {
    const LayerCandidate stays = candidates.back();
    LayerCandidate* found = nullptr;
    for (LayerCandidate& candidate : candidates) {
      const bool same =
          candidate.imbalance == chosen.imbalance && candidate.slot_writes == chosen.slot_writes;
      if (same && candidate.name != kAsItIs && (found == nullptr || candidate.cost < found->cost))
        found = &candidate;
    }
    if (found == nullptr) {
      candidates.push_back(chosen);
      found = &candidates.back();
    }
    found->chosen = true;
    return absl::StrFormat("J %.4f instead of %.4f", found->cost, stays.cost);
  }

  const LayerStrategyPtr strategy_;
};

}  // namespace

PlannerPtr MakeLayerwisePlanner(LayerStrategyPtr strategy) {
  return std::make_shared<LayerwisePlanner>(std::move(strategy));
}

}  // namespace ballast
