#include "plan/copies.h"

#include "base/check.h"

namespace ballast {

Copies Copies::Of(const LayerPlan& layer, int experts) {
  Copies copies;
  copies.begin.assign(static_cast<size_t>(experts) + 1, 0);
  for (const std::vector<Slot>& slots : layer.slots) {
    for (const Slot& slot : slots) {
      if (!slot) continue;
      BALLAST_CHECK(slot->value() >= 0 && slot->value() < experts) << "expert " << *slot << " of " << experts;
      ++copies.begin[slot->index() + 1];
    }
  }
  for (size_t e = 0; e < static_cast<size_t>(experts); ++e) copies.begin[e + 1] += copies.begin[e];
  copies.rank.resize(static_cast<size_t>(copies.begin.back()));
  copies.slot.resize(copies.rank.size());
  std::vector<int32_t> next(copies.begin.begin(), copies.begin.end() - 1);
  for (size_t r = 0; r < layer.slots.size(); ++r) {
    for (size_t i = 0; i < layer.slots[r].size(); ++i) {
      const Slot& slot = layer.slots[r][i];
      if (!slot) continue;
      const size_t copy = static_cast<size_t>(next[slot->index()]++);
      copies.rank[copy] = static_cast<int32_t>(r);
      copies.slot[copy] = static_cast<int32_t>(i);
    }
  }
  return copies;
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
