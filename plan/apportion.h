// Dividing whole tokens by weights: the largest-remainder method (Hamilton), in integers alone.
#pragma once

#include <cstdint>
#include <vector>

namespace ballast {

// floor(amount * weight / sum). Peeling parts off one by one, each from what is left of `amount` and of
// `sum`, gives whole parts that add up to `amount`, and none above its weight where amount <= sum. Requires 0
// <= weight <= sum, sum > 0, 0 <= amount, all below 2^62.
inline int64_t ProportionalPart(int64_t amount, int64_t weight, int64_t sum) {
  if (((amount | weight) >> 31) == 0) return amount * weight / sum;
  return static_cast<int64_t>(static_cast<__int128>(amount) * weight / sum);
}

// Parts that sum to `amount`, each floor or ceiling of amount * weight / sum of weights; the larger
// remainders are rounded up, a tie goes to the lower index. A part of weight 0 is 0, and no part exceeds its
// weight when amount <= sum. Requires amount >= 0, weights >= 0, both sums below 2^62, and a weight above 0
// unless amount is 0.
std::vector<int64_t> Apportion(int64_t amount, const std::vector<int64_t>& weights);

// `part` of `whole`, dealt along a row of pieces that sum to `whole`: the first pieces that sum to r have got
// part * r / whole, rounded. Each piece gets no more than itself, and all together exactly `part`: the ratio
// is rounded up by less than 2^-48, and sums are at most kTokensMax = 2^48.
class RunningShare {
 public:
  // 0 <= part <= whole <= 2^48.
  RunningShare(int64_t part, int64_t whole) : ratio_(Ratio(part, whole)) {}
  int64_t Next(int64_t piece) {
    seen_ += piece;
    const int64_t due = Due(seen_, ratio_);
    const int64_t got = due - given_;
    given_ = due;
    return got;
  }

  // What the first pieces, which sum to `seen`, have got together.
  static int64_t Due(int64_t seen, uint64_t ratio) {
    return static_cast<int64_t>(static_cast<unsigned __int128>(static_cast<uint64_t>(seen)) * ratio >> 48);
  }
  // part / whole in parts of 2^48, rounded up.
  static uint64_t Ratio(int64_t part, int64_t whole) {
    if (part == whole) return whole == 0 ? 0 : uint64_t{1} << 48;
    const uint64_t divisor = static_cast<uint64_t>(whole);
    if (part < 1 << 15) return ((static_cast<uint64_t>(part) << 48) + divisor - 1) / divisor;
    return static_cast<uint64_t>(((static_cast<unsigned __int128>(part) << 48) + divisor - 1) / divisor);
  }

 private:
  const uint64_t ratio_;
  int64_t seen_ = 0;
  int64_t given_ = 0;
};

}  // namespace ballast
