#include "coordinator/layer_balance.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "plan/load.h"

namespace ballast {

LayerBalance BalanceOf(const std::vector<int64_t>& expert_tokens, const std::vector<int64_t>& rank_tokens,
                       int hottest_max) {
  LayerBalance balance;
  balance.imbalance = MaxOverMean(rank_tokens);
  const auto experts = static_cast<double>(expert_tokens.size());
  const auto sum =
      static_cast<double>(std::accumulate(expert_tokens.begin(), expert_tokens.end(), int64_t{0}));
  if (sum > 0) {
    double squares = 0;
    for (int64_t tokens : expert_tokens) {
      const double away = static_cast<double>(tokens) - sum / experts;
      squares += away * away;
    }
    balance.variation = std::sqrt(squares / experts) / (sum / experts);
  }
  std::vector<size_t> order(expert_tokens.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const size_t hottest = std::min(order.size(), static_cast<size_t>(hottest_max));
  std::partial_sort(
      order.begin(), order.begin() + static_cast<ptrdiff_t>(hottest), order.end(), [&](size_t a, size_t b) {
        return expert_tokens[a] != expert_tokens[b] ? expert_tokens[a] > expert_tokens[b] : a < b;
      });
  for (size_t i = 0; i < hottest; ++i) {
    balance.hottest.push_back({ExpertId(static_cast<int32_t>(order[i])),
                               sum > 0 ? static_cast<double>(expert_tokens[order[i]]) / sum : 0});
  }
  return balance;
}

}  // namespace ballast
