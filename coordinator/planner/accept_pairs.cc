#include "coordinator/planner/accept_pairs.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "coordinator/planner/explain_layer.h"
#include "coordinator/planner/layer/node_labels.h"
#include "plan/diff.h"
#include "plan/load.h"

namespace ballast {
namespace {

std::vector<NodeLabels> NodesOfExperts(const PlanInput& input, const PlanBody& body) {
  std::vector<NodeLabels> labels;
  for (size_t l = 0; l < body.layers.size(); ++l) {
    labels.push_back(
        LabelsOf(TaskOf(input, input.history.samples().back().tokens[l]), TableOf(body.layers[l])));
  }
  return labels;
}

double MeanImbalance(const PlanInput& input, const PlanBody& body, size_t count) {
  const auto& samples = input.history.samples();
  double sum = 0;
  for (size_t i = samples.size() - count; i < samples.size(); ++i)
    sum += PlannedImbalance(samples[i].tokens, body, input.speeds);
  return sum / static_cast<double>(count);
}

}  // namespace

Verdict AcceptPairs(const PlanInput& input, const PlanBody& proposed) {
  BALLAST_CHECK(input.tokens != nullptr && input.tokens->enough());
  const auto rejected = [](std::string why) { return Verdict{false, "rejected: " + std::move(why)}; };
  if (input.history.samples().empty()) return rejected("no load was observed");
  const std::vector<double> before =
      input.tokens->SharesOfPairs(NodesOfExperts(input, input.current), TokenSample::Half::kJudged);
  const std::vector<double> after =
      input.tokens->SharesOfPairs(NodesOfExperts(input, proposed), TokenSample::Half::kJudged);
  if (before.size() < 2) return rejected("a token chooses one expert: there are no pairs");
  const double n = static_cast<double>(before.size());
  double sum_before = 0, gain = 0, squares = 0;
  for (size_t s = 0; s < before.size(); ++s) {
    sum_before += before[s];
    gain += (after[s] - before[s]) / n;
  }
  for (size_t s = 0; s < before.size(); ++s) {
    const double off = after[s] - before[s] - gain;
    squares += off * off;
  }
  const double error = std::sqrt(squares / (n - 1) / n);
  const std::string change = absl::StrFormat("%.3f -> %.3f of the pairs that tokens chose on one node",
                                             sum_before / n, sum_before / n + gain);
  if (gain - kPairsErrors * error < kMinPairsGain) {
    return rejected(absl::StrFormat("gain %.3f +- %.3f, needed is %.3g and %g times that error (%s)", gain,
                                    error, kMinPairsGain, kPairsErrors, change));
  }
  const size_t count = std::min(input.history.samples().size(),
                                static_cast<size_t>(std::max<int64_t>(1, input.config.plan_every_steps)));
  const double now = MeanImbalance(input, input.current, count);
  const double then = MeanImbalance(input, proposed, count);
  const std::string balance = absl::StrFormat("imbalance %.3f -> %.3f", now, then);
  if (then > now * (1 + kBalanceGivenUp)) {
    return rejected(
        absl::StrFormat("%s, allowed is %.3f (%s)", balance, now * (1 + kBalanceGivenUp), change));
  }
  return {true, absl::StrFormat("%s, %s, %s", change, balance,
                                Diff(input.current, proposed, input.layout).Summary())};
}

}  // namespace ballast
