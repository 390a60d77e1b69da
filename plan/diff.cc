#include "plan/diff.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/check.h"

namespace ballast {
namespace {

std::string Count(int64_t count, const char* what) {
  return absl::StrCat(count, " ", what, count == 1 ? "" : "s");
}

std::string Size(int64_t bytes) {
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  double size = static_cast<double>(bytes);
  const char* unit = "";
  for (const char* next : {"KiB", "MiB", "GiB", "TiB"}) {
    if (size < 1024) break;
    size /= 1024;
    unit = next;
  }
  return absl::StrFormat("%.4g %s", size, unit);
}

}  // namespace

PlanDiff Diff(const PlanBody& from, const PlanBody& to, const ParameterLayout& layout) {
  BALLAST_CHECK(from.layers.size() == to.layers.size() && from.homes.size() == to.homes.size() &&
                from.speeds.size() == to.speeds.size())
      << "plans of different shapes";
  const size_t ranks = to.speeds.size();
  PlanDiff diff;
  diff.home_bytes_in.assign(ranks, 0);
  diff.home_bytes_out.assign(ranks, 0);
  for (size_t l = 0; l < to.layers.size(); ++l) {
    const LayerPlan& before = from.layers[l];
    const LayerPlan& after = to.layers[l];
    for (size_t r = 0; r < ranks; ++r) {
      const Rank rank(static_cast<int32_t>(r));
      for (size_t i = 0; i < after.slots[r].size(); ++i) {
        const Slot& slot = after.slots[r][i];
        const bool kept = i < before.slots[r].size() && before.slots[r][i] == slot;
        if (slot && !kept) {
          diff.slot_writes.push_back({LayerId(static_cast<int32_t>(l)), rank, static_cast<int>(i), *slot});
        }
      }
      for (const Slot& slot : before.slots[r]) {
        if (slot && !after.SlotIndex(rank, *slot)) ++diff.slots_dropped;
      }
    }
    if (before.split != after.split || before.schedule != after.schedule) ++diff.schedules_changed;
  }
  for (size_t r = 0; r < ranks; ++r) diff.speeds_changed += from.speeds[r] != to.speeds[r];
  for (size_t b = 0; b < to.homes.size(); ++b) {
    if (from.homes[b] == to.homes[b]) continue;
    const int64_t bytes = layout.blocks()[b].elements * kHomeBytesPerElement;
    diff.home_moves.push_back({BlockId(static_cast<int32_t>(b)), from.homes[b], to.homes[b]});
    diff.home_bytes_out[from.homes[b].index()] += bytes;
    diff.home_bytes_in[to.homes[b].index()] += bytes;
  }
  return diff;
}

std::string PlanDiff::Summary() const {
  if (empty()) return "no change";
  std::vector<std::string> parts;
  if (!slot_writes.empty()) parts.push_back(Count(static_cast<int64_t>(slot_writes.size()), "slot write"));
  if (slots_dropped) parts.push_back(absl::StrCat(Count(slots_dropped, "slot"), " dropped"));
  if (!home_moves.empty()) {
    int64_t bytes = 0;
    for (int64_t in : home_bytes_in) bytes += in;
    parts.push_back(
        absl::StrCat(Count(static_cast<int64_t>(home_moves.size()), "home move"), " (", Size(bytes), ")"));
  }
  if (speeds_changed) parts.push_back(Count(speeds_changed, "rank speed") + " changed");
  if (schedules_changed) parts.push_back(Count(schedules_changed, "schedule change"));
  return absl::StrJoin(parts, ", ");
}

}  // namespace ballast
