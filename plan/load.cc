#include "plan/load.h"

#include <algorithm>

#include "base/check.h"
#include "plan/contiguous.h"
#include "plan/split.h"

namespace ballast {

double MaxOverMean(const std::vector<int64_t>& rank_tokens) {
  return MaxOverMean(rank_tokens, std::vector<uint32_t>(rank_tokens.size(), 1));
}

double MaxOverMean(const std::vector<int64_t>& rank_tokens, const std::vector<uint32_t>& speeds) {
  BALLAST_CHECK(rank_tokens.size() == speeds.size())
      << rank_tokens.size() << " ranks, " << speeds.size() << " speeds";
  double busiest = 0, tokens = 0, speed = 0;
  for (size_t r = 0; r < speeds.size(); ++r) {
    busiest = std::max(busiest, static_cast<double>(rank_tokens[r]) / speeds[r]);
    tokens += static_cast<double>(rank_tokens[r]);
    speed += speeds[r];
  }
  return tokens > 0 ? busiest * speed / tokens : 1;
}

double ContiguousImbalance(const StepLoad& load, int ranks) {
  double sum = 0;
  for (const std::vector<int64_t>& tokens : load.tokens) {
    std::vector<int64_t> rank_tokens(static_cast<size_t>(ranks), 0);
    const int experts = static_cast<int>(tokens.size());
    for (int e = 0; e < experts; ++e) rank_tokens[ContiguousRank(e, experts, ranks).index()] += tokens[e];
    sum += MaxOverMean(rank_tokens);
  }
  return load.tokens.empty() ? 1 : sum / static_cast<double>(load.tokens.size());
}

double LayerImbalance(const std::vector<int64_t>& tokens, const LayerPlan& layer,
                      const std::vector<uint32_t>& plan_speeds, const std::vector<uint32_t>& speeds) {
  const auto hosts = layer.Hosts(static_cast<int>(tokens.size()));
  const absl::StatusOr<Quotas> quotas = ComputeQuotas(tokens, layer, hosts, plan_speeds);
  BALLAST_CHECK_OK(quotas.status());
  return MaxOverMean(RankTokens(*quotas, hosts, static_cast<int>(speeds.size())), speeds);
}

double PlannedImbalance(const std::vector<std::vector<int64_t>>& tokens, const PlanBody& plan,
                        const std::vector<uint32_t>& speeds) {
  BALLAST_CHECK(tokens.size() == plan.layers.size()) << tokens.size() << " layers of load";
  if (tokens.empty()) return 1;
  double sum = 0;
  for (size_t l = 0; l < tokens.size(); ++l)
    sum += LayerImbalance(tokens[l], plan.layers[l], plan.speeds, speeds);
  return sum / static_cast<double>(tokens.size());
}

double PlannedImbalance(const StepLoad& load, const PlanBody& plan) {
  return PlannedImbalance(load.tokens, plan, plan.speeds);
}

}  // namespace ballast
