#include "worker/optimizer/memory.h"

#include <algorithm>

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

}  // namespace

MemoryUse ExpectedMemory(const ParameterLayout& layout, const MemoryShape& shape, const PlanBody& plan,
                         const PlanBody& next, Rank self) {
  MemoryUse use;
  const int64_t experts = int64_t{layout.layers()} * layout.experts() * layout.expert_elements();
  use.dense = 2 * (layout.total_elements() - experts) * shape.element_bytes;
  use.slots =
      2 * size_t{shape.element_bytes} * layout.layers() * shape.slots_per_rank * layout.expert_elements();
  for (size_t b = 0; b < next.homes.size(); ++b) {
    if (next.homes[b] != self) continue;
    use.homes += layout.blocks()[b].elements * (3 * shape.master_bytes + 2 * shape.element_bytes);
  }
  const ReduceTransfers reduce = MakeReduceTransfers(layout, plan, self);
  const RefreshTransfers refresh = MakeRefreshTransfers(layout, plan, next, self);
  use.windows = std::max(reduce.send_elements * shape.element_bytes, RefreshBytes(refresh.sends, shape)) +
                std::max(reduce.recv_elements * shape.element_bytes, RefreshBytes(refresh.recvs, shape));
  return use;
}

}  // namespace ballast
