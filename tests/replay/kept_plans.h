// A replay that keeps its plans.
#pragma once

#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "replay/replay.h"

namespace ballast {

struct ReplayWithPlans : ReplayResult {
  std::vector<ReplayPlan> plans;
};

inline absl::StatusOr<ReplayWithPlans> ReplayAndKeep(const LoadTrace& trace, ReplayOptions options) {
  ReplayWithPlans kept;
  options.plan_made = [&](const ReplayPlan& plan) { kept.plans.push_back(plan); };
  absl::StatusOr<ReplayResult> result = Replay(trace, options);
  if (!result.ok()) return result.status();
  static_cast<ReplayResult&>(kept) = *std::move(result);
  return kept;
}

}  // namespace ballast
