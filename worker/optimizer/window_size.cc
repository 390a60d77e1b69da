#include "worker/optimizer/window_size.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "plan/diff.h"
#include "worker/optimizer/transfers.h"

namespace ballast {
namespace {

// Copies of what a rank holds that it may send or receive as a home.
constexpr int64_t kHeadRoom = 2;

size_t Bytes(const std::vector<RefreshMessage>& messages, const ElementSizes& sizes) {
  size_t bytes = 0;
  for (const RefreshMessage& message : messages) {
    bytes += static_cast<size_t>(message.weight_elements) * sizes.element_bytes +
             static_cast<size_t>(message.state_elements) * 3 * sizes.master_bytes;
  }
  return bytes;
}

absl::Status CheckOne(const char* what, size_t needed, Rank self, size_t window_bytes) {
  if (needed <= window_bytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("transfers: rank ", self.value(), " would ", what, " ", needed,
                   " bytes in one exchange, allowed at most ", window_bytes,
                   " (fixed for the generation): spread the homes of what is replicated over more ranks"));
}

}  // namespace

size_t WindowBytes(const ParameterLayout& layout, const PlanLimits& limits, const ElementSizes& sizes) {
  if (limits.ranks == 1) return 0;
  const int64_t experts = int64_t{layout.layers()} * layout.experts() * layout.expert_elements();
  const int64_t slots = int64_t{layout.layers()} * limits.slots_per_rank * layout.expert_elements();
  const int64_t held = layout.total_elements() - experts + slots;
  const int64_t moving = std::min({limits.home_move_bytes_max / kHomeBytesPerElement,
                                   limits.home_elements_per_rank, layout.total_elements()});
  return static_cast<size_t>(std::min<int64_t>(kHeadRoom, limits.ranks - 1) * held) * sizes.element_bytes +
         static_cast<size_t>(moving) * 3 * sizes.master_bytes;
}

WindowNeed NeededWindows(const ParameterLayout& layout, const ElementSizes& sizes, const PlanBody& plan,
                         const PlanBody& next, Rank self) {
  const ReduceTransfers reduce = MakeReduceTransfers(layout, plan, self);
  const RefreshTransfers refresh = MakeRefreshTransfers(layout, plan, next, self);
  return {.send = std::max(static_cast<size_t>(reduce.send_elements) * sizes.element_bytes,
                           Bytes(refresh.sends, sizes)),
          .recv = std::max(static_cast<size_t>(reduce.recv_elements) * sizes.element_bytes,
                           Bytes(refresh.recvs, sizes))};
}

absl::Status CheckWindows(const ParameterLayout& layout, const ElementSizes& sizes,
                          const std::vector<const PlanBody*>& plans, Rank self, size_t window_bytes) {
  for (size_t i = 0; i < plans.size(); ++i) {
    for (size_t next = i; next < std::min(i + 2, plans.size()); ++next) {
      const WindowNeed need = NeededWindows(layout, sizes, *plans[i], *plans[next], self);
      BALLAST_RETURN_IF_ERROR(CheckOne("send", need.send, self, window_bytes));
      BALLAST_RETURN_IF_ERROR(CheckOne("receive", need.recv, self, window_bytes));
    }
  }
  return absl::OkStatus();
}

}  // namespace ballast
