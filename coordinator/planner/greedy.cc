// Greedy: replicate the hottest experts, then place the longest first on the least loaded rank.
//
// Longest-processing-time list scheduling (Graham, 1969) with slots as a second resource and copies of one
// expert on distinct ranks. Several numbers of copies are tried; the exact split decides which balances best.
// Layers are planned independently, and a layer that would gain too little stays as it is. Cost per layer:
// O(log(spare slots) * (ranks * slots * ranks + one exact split)).
#include <algorithm>
#include <numeric>

#include "absl/strings/str_format.h"
#include "coordinator/planner/explain_layer.h"
#include "coordinator/planner/home_prices.h"
#include "coordinator/planner/register.h"

namespace ballast {
namespace {

// What a copy must save, in balanced layer steps: it is reduced and refreshed in every step.
constexpr double kCopyPrice = 0.002;
// Ranks whose loads differ by no more than this share of the mean count as equal, and an expert keeps its
// rank. Each is tried: a wide tie moves less, a narrow one packs better.
constexpr double kTies[] = {0.02, 0.15, 0.6};

struct LayerInput {
  const std::vector<int64_t>& tokens;  // [expert]
  const LayerPlan& current;
  const std::vector<uint32_t>& speeds;
  int slots_per_rank = 0;

  int experts() const { return static_cast<int>(tokens.size()); }
  int ranks() const { return static_cast<int>(speeds.size()); }
};

// [expert] -> number of slots: one each, and `extra` more where the load per copy is highest.
std::vector<int> CountCopies(const LayerInput& layer, int extra) {
  std::vector<int> copies(layer.tokens.size(), 1);
  for (; extra > 0; --extra) {
    int hottest = -1;
    for (int e = 0; e < layer.experts(); ++e) {
      if (copies[e] == layer.ranks() || layer.tokens[e] == 0) continue;
      if (hottest < 0 || static_cast<__int128>(layer.tokens[e]) * copies[hottest] >
                             static_cast<__int128>(layer.tokens[hottest]) * copies[e]) {
        hottest = e;
      }
    }
    if (hottest < 0) break;
    ++copies[hottest];
  }
  return copies;
}

// [rank][expert] -> 1 where the expert is to have a slot. A copy that finds no rank is left out; first copies
// always find one, because an expert's copies follow each other and all copies together fit.
std::vector<std::vector<char>> Pack(const LayerInput& layer, const std::vector<int>& copies, double tie) {
  std::vector<int> order(layer.tokens.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return static_cast<__int128>(layer.tokens[a]) * copies[b] >
           static_cast<__int128>(layer.tokens[b]) * copies[a];
  });
  std::vector<std::vector<char>> placed(layer.speeds.size(), std::vector<char>(layer.tokens.size(), 0));
  std::vector<int> free(layer.speeds.size(), layer.slots_per_rank);
  std::vector<double> load(layer.speeds.size(), 0);  // tokens
  const double mean =
      static_cast<double>(std::accumulate(layer.tokens.begin(), layer.tokens.end(), int64_t{0})) /
      static_cast<double>(std::accumulate(layer.speeds.begin(), layer.speeds.end(), uint64_t{0}));
  for (int e : order) {
    const double part = static_cast<double>(layer.tokens[e]) / copies[e];
    for (int copy = 0; copy < copies[e]; ++copy) {
      int best = -1;
      double best_time = 0;
      for (int g = 0; g < layer.ranks(); ++g) {
        if (free[g] == 0 || placed[g][e]) continue;
        double time = (load[g] + part) / layer.speeds[g];
        if (layer.current.SlotIndex(Rank(g), ExpertId(e))) time -= tie * mean;
        if (best >= 0 && time >= best_time) continue;
        best = g;
        best_time = time;
      }
      if (best < 0) break;
      placed[best][e] = 1;
      --free[best];
      load[best] += part;
    }
  }
  return placed;
}

// The layer with these experts on each rank: those that stay keep their index, new ones take free slots in
// rising order.
LayerPlan Arrange(const LayerInput& layer, const std::vector<std::vector<char>>& placed) {
  LayerPlan next;
  next.schedule = layer.current.schedule;
  next.slots.assign(layer.speeds.size(), std::vector<Slot>(static_cast<size_t>(layer.slots_per_rank)));
  for (int g = 0; g < layer.ranks(); ++g) {
    std::vector<Slot>& slots = next.slots[g];
    std::vector<int> arriving;
    for (int e = 0; e < layer.experts(); ++e) {
      if (!placed[g][e]) continue;
      if (const std::optional<int> index = layer.current.SlotIndex(Rank(g), ExpertId(e))) {
        slots[*index] = ExpertId(e);
      } else {
        arriving.push_back(e);
      }
    }
    size_t index = 0;
    for (int e : arriving) {
      while (slots[index]) ++index;
      slots[index] = ExpertId(e);
    }
  }
  return next;
}

int CountWrites(const LayerPlan& from, const LayerPlan& to) {
  int writes = 0;
  for (size_t g = 0; g < to.slots.size(); ++g) {
    for (size_t i = 0; i < to.slots[g].size(); ++i)
      writes += to.slots[g][i] && to.slots[g][i] != from.slots[g][i];
  }
  return writes;
}

// 0, 1, 2, 3, 4, 6, 8, 12, 16, ... and `spare` itself.
std::vector<int> NumbersToTry(int spare) {
  std::vector<int> numbers;
  for (int n = 0; n < spare; n = n < 4 ? n + 1 : (n & (n - 1)) == 0 ? n + n / 2 : n / 3 * 4)
    numbers.push_back(n);
  numbers.push_back(spare);
  return numbers;
}

class GreedyPlanner final : public Planner {
 public:
  Proposal Propose(const PlanInput& input) const override {
    const std::vector<std::vector<int64_t>> forecast = input.history.Forecast();
    PlanBody body = input.current;
    body.speeds = input.speeds;
    body.predicted_step_seconds = 0;
    Proposal proposal;
    proposal.explanation.prices =
        absl::StrFormat("flat, %.3g of a layer's balanced step for a copy, %.3g for a slot write", kCopyPrice,
                        input.config.slot_write_cost);
    for (size_t l = 0; l < body.layers.size(); ++l) {
      LayerTask task = TaskOf(input, forecast[l]);
      LayerExplanation explanation = ExplainLayer(task, input.current, l);
      PlanLayer(input, forecast[l], body.layers[l], explanation);
      explanation.imbalance_after = LayerImbalance(forecast[l], body.layers[l], input.speeds, input.speeds);
      proposal.explanation.layers.push_back(std::move(explanation));
    }
    proposal.imbalance_before = PlannedImbalance(forecast, input.current, input.speeds);
    proposal.imbalance_after = PlannedImbalance(forecast, body, input.speeds);
    if (body.layers != input.current.layers || body.speeds != input.current.speeds)
      proposal.body = std::move(body);
    return proposal;
  }

  std::optional<PlanBody> ProposeHomes(const PlanInput& input) const override {
    return HomesThatFollow(input);
  }

 private:
  // Replaces `plan` (the current one) by the best that was found, if it gains enough.
  static void PlanLayer(const PlanInput& input, const std::vector<int64_t>& tokens, LayerPlan& plan,
                        LayerExplanation& explanation) {
    if (std::accumulate(tokens.begin(), tokens.end(), int64_t{0}) == 0) {
      explanation.why = "no load is expected";
      return;
    }
    const LayerPlan current = plan;
    const LayerInput layer{tokens, current, input.speeds, input.limits.slots_per_rank};
    const PlannerConfig& config = input.config;
    const double horizon = static_cast<double>(std::max<int64_t>(1, config.horizon_steps));
    // What the layer would be if it stayed: the measured speeds go into the plan in any case.
    const double now = LayerImbalance(tokens, current, input.speeds, input.speeds);
    const int spare = layer.ranks() * layer.slots_per_rank - layer.experts();
    double best_score = 0;
    std::string best_name = kAsItIs;
    bool found = false;
    explanation.candidates.push_back({kAsItIs, now, now, 0, false, now});
    for (int extra : NumbersToTry(spare)) {
      const std::vector<int> copies = CountCopies(layer, extra);
      for (double tie : kTies) {
        LayerPlan next = Arrange(layer, Pack(layer, copies, tie));
        const double imbalance = LayerImbalance(tokens, next, input.speeds, input.speeds);
        const int slot_writes = CountWrites(current, next);
        const double writes = slot_writes * config.slot_write_cost;
        const double score = imbalance + writes / horizon + extra * kCopyPrice;
        const std::string name = absl::StrFormat("%d extra copies, ties within %.2f", extra, tie);
        explanation.candidates.push_back(
            {name, imbalance, score, slot_writes, false, imbalance, extra * kCopyPrice, 0, writes / horizon});
        if (now - imbalance < config.min_gain * now || (now - imbalance) * horizon <= writes) continue;
        if (found && score >= best_score) continue;
        found = true;
        best_score = score;
        best_name = name;
        plan = std::move(next);
      }
    }
    for (LayerCandidate& candidate : explanation.candidates) candidate.chosen = candidate.name == best_name;
    TrimCandidates(explanation.candidates);
    explanation.why =
        found ? absl::StrFormat("J %.4f instead of %.4f", best_score, now)
              : absl::StrFormat("nothing gains %.3g of the imbalance and its slot writes", config.min_gain);
  }
};

}  // namespace

PlannerPtr MakeGreedyPlanner() { return std::make_shared<GreedyPlanner>(); }

}  // namespace ballast
