#include "worker/moe/routing.h"

#include "base/check.h"
#include "base/math.h"

namespace ballast {

// A counting sort: stable, so equal experts keep the order of their tokens.
Routing MakeRouting(std::span<const int32_t> choices, int top_k, int experts) {
  Routing routing;
  routing.counts.assign(experts, 0);
  for (int32_t expert : choices) {
    BALLAST_CHECK(expert >= 0 && expert < experts) << "expert " << expert << " of " << experts;
    ++routing.counts[expert];
  }
  std::vector<int64_t> next(experts, 0);
  for (int e = 1; e < experts; ++e) next[e] = next[e - 1] + routing.counts[e - 1];

  const int64_t assignments = static_cast<int64_t>(choices.size());
  DivExact(assignments, top_k);
  routing.token_of.resize(assignments);
  routing.row_of.resize(assignments);
  for (int64_t i = 0; i < assignments; ++i) {
    const int64_t row = next[choices[i]]++;
    routing.token_of[row] = i / top_k;
    routing.row_of[i] = row;
  }
  return routing;
}

}  // namespace ballast
