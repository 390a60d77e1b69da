#include "worker/optimizer/memory.h"

#include <algorithm>

#include "base/check.h"
#include "worker/optimizer/transfers.h"

namespace ballast {
namespace {

size_t RefreshBytes(const std::vector<RefreshMessage>& messages, const MemoryShape& shape) {
  size_t bytes = 0;
  for (const RefreshMessage& message : messages) {
    bytes += message.weight_elements * shape.element_bytes + message.state_elements * 3 * shape.master_bytes;
  }
  return bytes;
}

// Of the homes of `self` under `plan`.
size_t HomesBytes(const ParameterLayout& layout, const MemoryShape& shape, const PlanBody& plan, Rank self) {
  size_t bytes = 0;
  for (size_t b = 0; b < plan.homes.size(); ++b) {
    if (plan.homes[b] != self) continue;
    bytes += layout.blocks()[b].elements * (3 * shape.master_bytes + 2 * shape.element_bytes);
  }
  return bytes;
}

// Elements of the homes that `self` has under `plan` and not under `other`.
int64_t HomesOnlyIn(const ParameterLayout& layout, const PlanBody& plan, const PlanBody& other, Rank self) {
  int64_t elements = 0;
  for (size_t b = 0; b < plan.homes.size(); ++b) {
    if (plan.homes[b] == self && other.homes[b] != self) elements += layout.blocks()[b].elements;
  }
  return elements;
}

}  // namespace

MemoryUse ExpectedMemory(const ParameterLayout& layout, const MemoryShape& shape, const PlanBody& plan,
                         const PlanBody& next, Rank self) {
  MemoryUse use;
  const int64_t experts = int64_t{layout.layers()} * layout.experts() * layout.expert_elements();
  use.dense = 2 * (layout.total_elements() - experts) * shape.element_bytes;
  use.slots =
      2 * size_t{shape.element_bytes} * layout.layers() * shape.slots_per_rank * layout.expert_elements();
  use.homes = HomesBytes(layout, shape, next, self);
  const ReduceTransfers reduce = MakeReduceTransfers(layout, plan, self);
  const RefreshTransfers refresh = MakeRefreshTransfers(layout, plan, next, self);
  use.windows = std::max(reduce.send_elements * shape.element_bytes, RefreshBytes(refresh.sends, shape)) +
                std::max(reduce.recv_elements * shape.element_bytes, RefreshBytes(refresh.recvs, shape));
  return use;
}

MemoryUse PeakMemory(const ParameterLayout& layout, const MemoryShape& shape,
                     const std::vector<const PlanBody*>& plans, Rank self) {
  BALLAST_CHECK(!plans.empty());
  MemoryUse peak;
  auto consider = [&](MemoryUse use, size_t homes) {
    use.homes = homes;
    if (use.total() > peak.total()) peak = use;
  };
  size_t kept = 0;  // states that left with the switch to plans[i]
  for (size_t i = 0; i < plans.size(); ++i) {
    const PlanBody& plan = *plans[i];
    const size_t homes = HomesBytes(layout, shape, plan, self);
    consider(ExpectedMemory(layout, shape, plan, plan, self), homes + kept);
    if (i + 1 == plans.size()) break;
    // The last step of `plan`. Kept states are freed before the next ones arrive.
    const PlanBody& next = *plans[i + 1];
    const size_t arriving =
        HomesOnlyIn(layout, next, plan, self) * (3 * shape.master_bytes + 2 * shape.element_bytes);
    consider(ExpectedMemory(layout, shape, plan, next, self), homes + std::max(kept, arriving));
    kept = HomesOnlyIn(layout, plan, next, self) * 3 * shape.master_bytes;
  }
  return peak;
}

}  // namespace ballast
