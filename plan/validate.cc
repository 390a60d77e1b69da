#include "plan/validate.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "plan/diff.h"

namespace ballast {
namespace {

constexpr uint32_t kSpeedMax = uint32_t{1} << 20;  // 16 times a healthy rank
constexpr uint32_t kFractionOne = uint32_t{1} << 16;
constexpr size_t kReasonBytesMax = 4096;

template <class... Parts>
absl::Status Bad(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

absl::Status CheckCount(const std::string& what, size_t found, int64_t allowed) {
  if (static_cast<int64_t>(found) == allowed) return absl::OkStatus();
  return Bad(what, ": found ", found, " entries, allowed is ", allowed);
}

absl::Status CheckName(const std::string& what, const std::string& name,
                       const std::vector<std::string>& known) {
  if (std::find(known.begin(), known.end(), name) != known.end()) return absl::OkStatus();
  return Bad(what, ": found \"", name.substr(0, 64), "\", allowed: ", absl::StrJoin(known, ", "));
}

// Shape and content of the slots; afterwards everything in them may be used as an index.
absl::Status CheckSlots(const std::string& where, const LayerPlan& layer, int experts,
                        const PlanLimits& limits) {
  BALLAST_RETURN_IF_ERROR(CheckCount(where + "slots", layer.slots.size(), limits.ranks));
  std::vector<int> last_rank(static_cast<size_t>(experts), -1);  // that holds the expert
  for (int r = 0; r < limits.ranks; ++r) {
    const std::vector<Slot>& slots = layer.slots[r];
    BALLAST_RETURN_IF_ERROR(
        CheckCount(absl::StrCat(where, "slots[", r, "]"), slots.size(), limits.slots_per_rank));
    for (size_t i = 0; i < slots.size(); ++i) {
      if (!slots[i]) continue;
      const int32_t expert = slots[i]->value();
      if (expert < 0 || expert >= experts) {
        return Bad(where, "slots[", r, "][", i, "]: found expert ", expert, ", allowed 0..", experts - 1);
      }
      if (last_rank[expert] == r) {
        return Bad(where, "slots[", r, "][", i, "]: expert ", expert,
                   " has a second slot on the rank, allowed is one");
      }
      last_rank[expert] = r;
    }
  }
  for (int e = 0; e < experts; ++e) {
    if (last_rank[e] < 0) return Bad(where, "slots: expert ", e, " has no slot, allowed is at least one");
  }
  return absl::OkStatus();
}

// Requires slots that CheckSlots has passed.
absl::Status CheckSplit(const std::string& where, const LayerPlan& layer, int experts) {
  const auto& table = layer.split.fractions;
  if (layer.split.kind == SplitKind::kExact || layer.split.kind == SplitKind::kEven) {
    if (table.empty()) return absl::OkStatus();
    return Bad(where, "split.fractions: found ", table.size(),
               " entries, allowed is none unless the kind is fractions");
  }
  if (layer.split.kind != SplitKind::kFractions) {
    return Bad(where, "split.kind: found ", static_cast<int>(layer.split.kind),
               ", allowed 1 (exact), 2 (fractions), 3 (even)");
  }
  BALLAST_RETURN_IF_ERROR(
      CheckCount(where + "split.fractions", table.size(), static_cast<int64_t>(layer.slots.size())));
  std::vector<int64_t> sums(static_cast<size_t>(experts), 0);
  for (size_t r = 0; r < table.size(); ++r) {
    BALLAST_RETURN_IF_ERROR(CheckCount(absl::StrCat(where, "split.fractions[", r, "]"), table[r].size(),
                                       static_cast<int64_t>(layer.slots[r].size())));
    for (size_t i = 0; i < table[r].size(); ++i) {
      const Slot& slot = layer.slots[r][i];
      const uint32_t allowed = slot ? kFractionOne : 0;
      if (table[r][i] > allowed) {
        return Bad(where, "split.fractions[", r, "][", i, "]: found ", table[r][i], ", allowed 0..", allowed,
                   slot ? "" : " (the slot is empty)");
      }
      if (slot) sums[slot->index()] += table[r][i];
    }
  }
  for (int e = 0; e < experts; ++e) {
    if (sums[e] == kFractionOne) continue;
    return Bad(where, "split.fractions: those of expert ", e, " sum to ", sums[e], ", allowed is ",
               kFractionOne);
  }
  return absl::OkStatus();
}

absl::Status CheckSchedule(const std::string& where, const LayerSchedule& schedule,
                           const PlanLimits& limits) {
  BALLAST_RETURN_IF_ERROR(CheckName(where + "schedule.all_to_all", schedule.all_to_all, limits.all_to_alls));
  BALLAST_RETURN_IF_ERROR(CheckName(where + "schedule.task_order", schedule.task_order, limits.task_orders));
  BALLAST_RETURN_IF_ERROR(
      CheckName(where + "schedule.dispatch_compressor", schedule.dispatch_compressor, limits.compressors));
  BALLAST_RETURN_IF_ERROR(
      CheckName(where + "schedule.combine_compressor", schedule.combine_compressor, limits.compressors));
  if (schedule.chunks < 1 || schedule.chunks > limits.chunks_max) {
    return Bad(where, "schedule.chunks: found ", schedule.chunks, ", allowed 1..", limits.chunks_max);
  }
  return absl::OkStatus();
}

absl::Status CheckSpeeds(const PlanBody& body, const PlanLimits& limits) {
  BALLAST_RETURN_IF_ERROR(CheckCount("speeds", body.speeds.size(), limits.ranks));
  for (size_t r = 0; r < body.speeds.size(); ++r) {
    if (body.speeds[r] >= 1 && body.speeds[r] <= kSpeedMax) continue;
    return Bad("speeds[", r, "]: found ", body.speeds[r], ", allowed 1..", kSpeedMax);
  }
  return absl::OkStatus();
}

absl::Status CheckHomes(const PlanBody& body, const ParameterLayout& layout, const PlanLimits& limits) {
  BALLAST_RETURN_IF_ERROR(
      CheckCount("homes", body.homes.size(), static_cast<int64_t>(layout.blocks().size())));
  std::vector<int64_t> held(static_cast<size_t>(limits.ranks), 0);
  for (size_t b = 0; b < body.homes.size(); ++b) {
    const int32_t rank = body.homes[b].value();
    if (rank < 0 || rank >= limits.ranks) {
      return Bad("homes[", b, "]: found rank ", rank, ", allowed 0..", limits.ranks - 1);
    }
    held[rank] += layout.blocks()[b].elements;
  }
  for (size_t r = 0; r < held.size(); ++r) {
    if (held[r] <= limits.home_elements_per_rank) continue;
    return Bad("homes of rank ", r, ": found ", held[r], " parameters, allowed at most ",
               limits.home_elements_per_rank);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidatePlan(const PlanBody& body, const ParameterLayout& layout, const PlanLimits& limits) {
  BALLAST_RETURN_IF_ERROR(CheckSpeeds(body, limits));
  BALLAST_RETURN_IF_ERROR(CheckHomes(body, layout, limits));
  BALLAST_RETURN_IF_ERROR(CheckCount("layers", body.layers.size(), layout.layers()));
  for (size_t l = 0; l < body.layers.size(); ++l) {
    const std::string where = absl::StrCat("layers[", l, "].");
    const LayerPlan& layer = body.layers[l];
    BALLAST_RETURN_IF_ERROR(CheckSlots(where, layer, layout.experts(), limits));
    BALLAST_RETURN_IF_ERROR(CheckSplit(where, layer, layout.experts()));
    BALLAST_RETURN_IF_ERROR(CheckSchedule(where, layer.schedule, limits));
  }
  if (body.reason.size() > kReasonBytesMax) {
    return Bad("reason: found ", body.reason.size(), " bytes, allowed at most ", kReasonBytesMax);
  }
  if (!std::isfinite(body.predicted_step_seconds) || body.predicted_step_seconds < 0) {
    return Bad("predicted_step_seconds: found ", body.predicted_step_seconds,
               ", allowed is a finite number from 0");
  }
  return absl::OkStatus();
}

absl::Status ValidateTransition(const PlanBody& current, const PlanBody& next, const ParameterLayout& layout,
                                const PlanLimits& limits) {
  BALLAST_RETURN_IF_ERROR(ValidatePlan(current, layout, limits));
  BALLAST_RETURN_IF_ERROR(ValidatePlan(next, layout, limits));
  for (size_t l = 0; l < next.layers.size(); ++l) {
    for (int r = 0; r < limits.ranks; ++r) {
      const std::vector<Slot>& before = current.layers[l].slots[r];
      for (size_t i = 0; i < before.size(); ++i) {
        if (!before[i]) continue;
        const std::optional<int> index = next.layers[l].SlotIndex(Rank(r), *before[i]);
        if (!index || *index == static_cast<int>(i)) continue;
        return Bad("layers[", l, "].slots[", r, "]: expert ", before[i]->value(),
                   " stays on the rank and moves from slot ", i, " to slot ", *index, ", allowed is slot ",
                   i);
      }
    }
  }
  const PlanDiff diff = Diff(current, next, layout);
  for (int r = 0; r < limits.ranks; ++r) {
    for (const auto& [what, bytes] :
         {std::pair{"into", diff.home_bytes_in[r]}, {"out of", diff.home_bytes_out[r]}}) {
      if (bytes <= limits.home_move_bytes_max) continue;
      return Bad("homes: the plan moves ", bytes, " bytes ", what, " rank ", r, ", allowed at most ",
                 limits.home_move_bytes_max, " (home_move_bytes_max)");
    }
  }
  return absl::OkStatus();
}

}  // namespace ballast
