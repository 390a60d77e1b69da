#include "plan/plan.h"

#include "base/check.h"

namespace ballast {

std::vector<std::vector<Rank>> LayerPlan::Hosts(int experts) const {
  std::vector<std::vector<Rank>> hosts(static_cast<size_t>(experts));
  for (size_t r = 0; r < slots.size(); ++r) {
    for (const Slot& slot : slots[r]) {
      if (!slot) continue;
      BALLAST_CHECK(slot->value() >= 0 && slot->value() < experts) << "expert " << *slot << " of " << experts;
      hosts[slot->index()].push_back(Rank(static_cast<int32_t>(r)));
    }
  }
  return hosts;
}

std::optional<int> LayerPlan::SlotIndex(Rank rank, ExpertId expert) const {
  const std::vector<Slot>& own = slots[rank.index()];
  for (size_t i = 0; i < own.size(); ++i) {
    if (own[i] == expert) return static_cast<int>(i);
  }
  return std::nullopt;
}

}  // namespace ballast
