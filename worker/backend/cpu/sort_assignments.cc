// A counting sort: stable, so equal experts keep the order of their tokens.
#include <algorithm>

#include "base/check.h"
#include "worker/backend/cpu/kernels.h"

namespace ballast::cpu {

void SortAssignments(std::span<const int32_t> experts, int top_k, int expert_count, int64_t* counts,
                     int64_t* token_of, int64_t* row_of, int64_t* next) {
  std::fill_n(counts, expert_count, 0);
  for (int32_t expert : experts) {
    BALLAST_CHECK(expert >= 0 && expert < expert_count) << "expert " << expert << " of " << expert_count;
    ++counts[expert];
  }
  int64_t row = 0;
  for (int e = 0; e < expert_count; ++e) {
    next[e] = row;
    row += counts[e];
  }
  for (size_t i = 0; i < experts.size(); ++i) {
    row = next[experts[i]]++;
    token_of[row] = static_cast<int64_t>(i) / top_k;
    row_of[i] = row;
  }
}

}  // namespace ballast::cpu
