#include "plan/least_bound.h"

#include <cstddef>

namespace ballast {

// Between tokens / (sum of speeds) and the answer less than one token per rank is missing; those are given
// one by one to the rank that is then the least loaded.
LoadRatio LeastBound(int64_t tokens, const std::vector<int>& ranks, const std::vector<uint32_t>& speeds,
                     bool one_speed) {
  uint64_t speed_sum = 0;
  bool equal = true;
  if (!one_speed) {
    for (int g : ranks) {
      speed_sum += speeds[g];
      equal &= speeds[g] == speeds[ranks[0]];
    }
  }
  if (equal) {
    const int64_t count = static_cast<int64_t>(ranks.size());
    return {(tokens + count - 1) / count, speeds[ranks[0]]};
  }
  std::vector<int64_t> held;
  LoadRatio bound;
  int64_t missing = tokens;
  for (int g : ranks) {
    held.push_back(static_cast<int64_t>(static_cast<unsigned __int128>(tokens) * speeds[g] / speed_sum));
    missing -= held.back();
    if (Less(bound, {held.back(), speeds[g]})) bound = {held.back(), speeds[g]};
  }
  for (; missing > 0; --missing) {
    size_t least = 0;
    for (size_t i = 1; i < ranks.size(); ++i) {
      if (Less({held[i] + 1, speeds[ranks[i]]}, {held[least] + 1, speeds[ranks[least]]})) least = i;
    }
    ++held[least];
    if (Less(bound, {held[least], speeds[ranks[least]]})) bound = {held[least], speeds[ranks[least]]};
  }
  return bound;
}

}  // namespace ballast
