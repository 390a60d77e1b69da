#include "plan/copies.h"

#include <utility>

#include "base/check.h"

namespace ballast {

Copies Copies::Of(const LayerPlan& layer, int experts) {
  Copies copies;
  copies.Set(layer, experts);
  return copies;
}

void Copies::Set(const LayerPlan& layer, int experts) {
  // begin[e + 1] counts the copies of e, then it is where those of e begin, and in the end where they end.
  begin.assign(static_cast<size_t>(experts) + 1, 0);
  for (const std::vector<Slot>& slots : layer.slots) {
    for (const Slot& held : slots) {
      if (!held) continue;
      BALLAST_CHECK(held->value() >= 0 && held->value() < experts) << "expert " << *held << " of " << experts;
      ++begin[held->index() + 1];
    }
  }
  int32_t sum = 0;
  for (size_t e = 1; e < begin.size(); ++e) sum += std::exchange(begin[e], sum);
  rank.resize(static_cast<size_t>(sum));
  slot.resize(rank.size());
  for (size_t r = 0; r < layer.slots.size(); ++r) {
    for (size_t i = 0; i < layer.slots[r].size(); ++i) {
      const Slot& held = layer.slots[r][i];
      if (!held) continue;
      const size_t copy = static_cast<size_t>(begin[held->index() + 1]++);
      rank[copy] = static_cast<int32_t>(r);
      slot[copy] = static_cast<int32_t>(i);
    }
  }
}

Copies Copies::OfHosts(const std::vector<std::vector<Rank>>& hosts) {
  Copies copies;
  copies.begin.push_back(0);
  for (const std::vector<Rank>& ranks : hosts) {
    for (Rank rank : ranks) copies.rank.push_back(rank.value());
    copies.begin.push_back(static_cast<int32_t>(copies.rank.size()));
  }
  return copies;
}

}  // namespace ballast
