// How the assignments of one layer were spread in one step, in a few figures.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"

namespace ballast {

struct HotExpert {
  ExpertId expert;
  double share = 0;  // of the layer's assignments
};

struct LayerBalance {
  double imbalance = 1;            // busiest rank / mean rank
  double variation = 0;            // standard deviation of the experts' assignments / their mean
  std::vector<HotExpert> hottest;  // falling; of equal ones the lower expert first
};

// `expert_tokens` by expert and `rank_tokens` by rank are of the same step and layer; zeros are a layer that
// routed nothing. At most `hottest_max` experts.
LayerBalance BalanceOf(const std::vector<int64_t>& expert_tokens, const std::vector<int64_t>& rank_tokens,
                       int hottest_max);

}  // namespace ballast
