// Bounds on the load of the busiest rank, in whole tokens and exact fractions. Pure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace ballast {

// A load per unit of speed: tokens / speed.
struct LoadRatio {
  int64_t tokens = 0;
  uint32_t speed = 1;
};

inline bool Less(const LoadRatio& a, const LoadRatio& b) {
  if (a.speed == b.speed) return a.tokens < b.tokens;
  return static_cast<__int128>(a.tokens) * b.speed < static_cast<__int128>(b.tokens) * a.speed;
}

// Whole tokens, of `total`, that a rank of `speed` may take under the bound.
inline int64_t CapacityUnder(const LoadRatio& bound, uint32_t speed, int64_t total) {
  if (speed == bound.speed) return std::min(bound.tokens, total);
  const __int128 capacity = static_cast<__int128>(bound.tokens) * speed / bound.speed;
  return static_cast<int64_t>(std::min(capacity, static_cast<__int128>(total)));
}

// The least bound under which `ranks` (at least one) together hold `tokens`; `speeds` by rank. `one_speed`:
// all speeds are known to be equal. O(1) for equal speeds, else O(ranks^2) at worst.
LoadRatio LeastBound(int64_t tokens, const std::vector<int>& ranks, const std::vector<uint32_t>& speeds,
                     bool one_speed);

}  // namespace ballast
