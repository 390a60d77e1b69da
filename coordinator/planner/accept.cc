#include "coordinator/planner/accept.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "coordinator/planner/accept_pairs.h"
#include "coordinator/planner/explain_layer.h"
#include "coordinator/planner/home_prices.h"
#include "coordinator/planner/layer/objective.h"
#include "plan/diff.h"

namespace ballast {
namespace {

// A split for other speeds is free: any gain is enough that is more than rounding.
constexpr double kResplitGain = 0.002;
constexpr int64_t kResplitSamples = 5;

Verdict Rejected(std::string why) { return {false, "rejected: " + std::move(why)}; }

// The cost of one step under both plans, measured on samples from the newest back. Evaluates no more than is
// asked for.
class Replay {
 public:
  Replay(const PlanInput& input, const PlanBody& next) : input_(input), next_(next) {}

  int64_t size() const { return static_cast<int64_t>(input_.history.samples().size()); }
  // Imbalance of the sample `age` steps back, 0 being the newest.
  double before(int64_t age) { return At(age).before; }
  double after(int64_t age) { return At(age).after; }

 private:
  struct Pair {
    double before = 1;
    double after = 1;
  };
  const Pair& At(int64_t age) {
    while (static_cast<int64_t>(pairs_.size()) <= age) {
      const auto& sample = input_.history.samples()[static_cast<size_t>(size()) - 1 - pairs_.size()];
      pairs_.push_back({PlannedImbalance(sample.tokens, input_.current, input_.speeds),
                        PlannedImbalance(sample.tokens, next_, input_.speeds)});
    }
    return pairs_[static_cast<size_t>(age)];
  }

  const PlanInput& input_;
  const PlanBody& next_;
  std::vector<Pair> pairs_;
};

struct Gain {
  double before = 0;  // mean imbalances
  double after = 0;
  double gain = 0;            // share of `before`
  double standard_error = 0;  // of the gain
};

// What a proposal changes about homes, summed over layers, in balanced steps of a layer.
struct HomeEffect {
  bool measured = false;
  double sync = 0;   // in every step, more than now
  double moves = 0;  // once
};

HomeEffect EffectOnHomes(const PlanInput& input, const PlanBody& next) {
  HomeEffect effect;
  for (size_t l = 0; l < next.layers.size(); ++l) {
    const LayerTask task = TaskOf(input, input.history.samples().back().tokens[l]);
    LayerCosts costs = RelativeCosts(task, 0, 0);
    const std::optional<HomePricing> pricing = HomePricingOf(input, l, RowCost(input, l));
    if (!pricing) return effect;
    effect.measured = true;
    if (next.layers[l].slots == input.current.layers[l].slots) continue;
    costs.homes = &*pricing;
    costs.life = static_cast<double>(std::max<int64_t>(1, input.config.horizon_steps));
    const SlotTable now = TableOf(input.current.layers[l]), then = TableOf(next.layers[l]);
    effect.sync += SyncOf(task, then, costs) - SyncOf(task, now, costs);
    effect.moves += SwitchCost(task, now, then, costs);
  }
  return effect;
}

// Over the newest `count` samples; `extra` is what a step of a layer costs more otherwise.
Gain MeasureGain(Replay& replay, int64_t count, double extra) {
  Gain result;
  double squares = 0;
  for (int64_t i = 0; i < count; ++i) {
    result.before += replay.before(i);
    result.after += replay.after(i);
    const double difference = replay.before(i) - replay.after(i);
    squares += difference * difference;
  }
  const double n = static_cast<double>(count);
  result.before /= n;
  result.after /= n;
  const double mean = result.before - result.after;
  result.gain = (mean - extra) / result.before;
  if (count > 1) {
    const double variance = std::max(0.0, (squares - n * mean * mean) / (n - 1));
    result.standard_error = std::sqrt(variance / n) / result.before;
  }
  return result;
}

// The most that the current plan has cost more than the next would have, over any newest part of the history,
// in balanced layer steps; stops looking when it is above `enough`.
double Regret(Replay& replay, double layers, double extra, double enough) {
  double sum = 0, most = 0;
  for (int64_t i = 0; i < replay.size() && most <= enough; ++i) {
    sum += (replay.before(i) - replay.after(i) - extra) * layers;
    most = std::max(most, sum);
  }
  return most;
}

}  // namespace

Verdict MayPlan(const PlanInput& input) {
  const int64_t observed = input.history.observed();
  const int64_t needed = std::max<int64_t>(1, input.config.warmup_steps);
  if (observed < needed) {
    return {false, absl::StrCat("too early: ", observed, " of ", needed, " steps observed")};
  }
  const int64_t age = input.now.value() - input.active_since.value() + 1;
  const bool other_speeds = input.speeds != input.current.speeds;
  if (input.active_since.value() > 0 && age < input.config.plan_every_steps && !other_speeds) {
    return {false, absl::StrCat("held down: the plan is active for ", age, " of ",
                                input.config.plan_every_steps, " steps")};
  }
  return {true, ""};
}

Verdict Accept(const PlanInput& input, const PlanBody& proposed) {
  const PlanDiff diff = Diff(input.current, proposed, input.layout);
  Replay replay(input, proposed);
  if (replay.size() == 0) return Rejected("no load was observed");
  const int64_t count = std::min(replay.size(), std::max<int64_t>(1, input.config.plan_every_steps));
  const double layers = static_cast<double>(input.layout.layers());
  const HomeEffect homes = EffectOnHomes(input, proposed);
  const double extra = homes.sync / layers;
  const Gain gain = MeasureGain(replay, count, extra);
  std::string change = absl::StrFormat("imbalance %.3f -> %.3f", gain.before, gain.after);
  if (homes.measured) absl::StrAppendFormat(&change, ", sync %+.4f", extra);
  const double min_gain = input.config.min_gain;
  if (gain.gain < min_gain) {
    return Rejected(absl::StrFormat("predicted gain %.3f < %.3g (%s)", gain.gain, min_gain, change));
  }
  if (gain.gain - gain.standard_error < min_gain) {
    return Rejected(absl::StrFormat("predicted gain %.3f +- %.3f may be noise, needed is %.3g (%s)",
                                    gain.gain, gain.standard_error, min_gain, change));
  }
  const double writes = static_cast<double>(diff.slot_writes.size());
  const double cost = homes.measured ? homes.moves : writes * input.config.slot_write_cost;
  const double regret = Regret(replay, layers, extra, cost);
  if (regret <= cost) {
    return Rejected(absl::StrFormat("%s cost %.3g, more than the %.3g lost so far (%s)", diff.Summary(), cost,
                                    regret, change));
  }
  std::string why =
      absl::StrFormat("imbalance %.2f -> %.2f predicted, %s", gain.before, gain.after, diff.Summary());
  if (homes.measured) absl::StrAppendFormat(&why, ", sync %+.3f of a layer's step", extra);
  return {true, std::move(why)};
}

std::optional<PlanBody> Resplit(const PlanInput& input) {
  if (input.speeds == input.current.speeds || input.history.samples().empty()) return std::nullopt;
  PlanBody body = input.current;
  body.speeds = input.speeds;
  Replay replay(input, body);
  const Gain gain = MeasureGain(replay, std::min<int64_t>(replay.size(), kResplitSamples), 0);
  if (gain.gain < kResplitGain) return std::nullopt;
  body.reason = absl::StrFormat("tokens are split for the speeds that were measured: imbalance %.2f -> %.2f",
                                gain.before, gain.after);
  return body;
}

absl::StatusOr<PlanDecision> Decide(const Registry<PlannerPtr>& planners, const PlanInput& input) {
  BALLAST_ASSIGN_OR_RETURN(const PlannerPtr planner, planners.Find(input.config.strategy));
  const Verdict may = MayPlan(input);
  PlanDecision decision;
  decision.why = may.why;
  if (!may.accepted) return decision;
  Proposal proposal = planner->Propose(input);
  const std::string waits = planner->WaitsFor(input);
  decision.why = waits.empty() ? "no better placement" : waits;
  if (proposal.body && !input.optional_moves && input.speeds == input.current.speeds) {
    decision.why = "rejected: step times are not as predicted; nothing moves until they are learned anew";
  } else if (proposal.body) {
    Verdict verdict = Accept(input, *proposal.body);
    if (!verdict.accepted && planner->traits().needs_tokens) verdict = AcceptPairs(input, *proposal.body);
    decision.why = verdict.why;
    if (verdict.accepted) decision.body = std::move(proposal.body);
  }
  if (!decision.body) {
    decision.body = Resplit(input);
    if (decision.body) decision.why = absl::StrCat(decision.body->reason, "; slots stay: ", decision.why);
  }
  std::string verdict = decision.why;
  if (!decision.body) {
    decision.body = planner->ProposeHomes(input);
    decision.homes = decision.body.has_value();
    if (decision.homes) {
      decision.why = absl::StrCat("homes follow their slots: ",
                                  Diff(input.current, *decision.body, input.layout).Summary());
      verdict = absl::StrCat(decision.why, "; slots stay: ", verdict);
    }
  }
  if (decision.body) decision.body->reason = decision.why;
  decision.explanation = std::move(proposal.explanation);
  decision.explanation.strategy = input.config.strategy;
  decision.explanation.step = input.now;
  const auto& samples = input.history.samples();
  if (!samples.empty()) {
    decision.explanation.first_sample = samples.front().step;
    decision.explanation.last_sample = samples.back().step;
  }
  decision.explanation.accepted = decision.body.has_value();
  decision.explanation.verdict = std::move(verdict);
  return decision;
}

}  // namespace ballast
