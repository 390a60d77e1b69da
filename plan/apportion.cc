#include "plan/apportion.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"

namespace ballast {

std::vector<int64_t> Apportion(int64_t amount, const std::vector<int64_t>& weights) {
  std::vector<int64_t> parts(weights.size(), 0);
  if (amount == 0) return parts;
  const int64_t total = std::accumulate(weights.begin(), weights.end(), int64_t{0});
  BALLAST_CHECK(amount > 0 && total > 0) << amount << " by weights that sum to " << total;
  std::vector<int64_t> remainders(weights.size(), 0);
  int64_t left = amount;
  for (size_t i = 0; i < weights.size(); ++i) {
    const __int128 product = static_cast<__int128>(amount) * weights[i];
    parts[i] = static_cast<int64_t>(product / total);
    remainders[i] = static_cast<int64_t>(product % total);
    left -= parts[i];
  }
  if (left == 0) return parts;
  std::vector<size_t> order(weights.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return remainders[a] > remainders[b]; });
  // The remainders sum to left * total, so more than left - 1 of them are positive: only those are rounded
  // up.
  for (int64_t i = 0; i < left; ++i) ++parts[order[i]];
  return parts;
}

}  // namespace ballast
