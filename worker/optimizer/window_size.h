// How large the two transfer windows of a rank are, for a whole generation. Pure.
#pragma once

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "plan/layout.h"
#include "plan/plan.h"
#include "plan/validate.h"

namespace ballast {

// Bytes of one element of compute weights and gradients, and of master weights and each moment.
struct ElementSizes {
  size_t element_bytes = 0;
  size_t master_bytes = 0;
};

// Bytes of each of a rank's two windows (what it sends, what it receives), fixed when a generation starts:
//   min(2, ranks - 1) x the compute weights that a rank can hold (dense ones and full slots)
//   + the states that one plan may move into, or out of, its homes.
// As a holder a rank sends in reduce, and receives in refresh, each block that it holds at most once. As a
// home it receives and sends one copy per other holder of its blocks; that is at most what the other ranks
// hold, so on up to three ranks every valid plan fits. On more, one fits whose replicas' homes are spread
// over at least about half as many ranks as the replicas; the others would make a hot spot of one rank's link
// anyway.
size_t WindowBytes(const ParameterLayout& layout, const PlanLimits& limits, const ElementSizes& sizes);

// What the windows of `self` must hold in a step that runs `plan` and is followed by one that runs `next`.
struct WindowNeed {
  size_t send = 0;
  size_t recv = 0;
};
WindowNeed NeededWindows(const ParameterLayout& layout, const ElementSizes& sizes, const PlanBody& plan,
                         const PlanBody& next, Rank self);

// InvalidArgument, with rank and figures, when `self` needs more than `window_bytes` of a window while it
// runs `plans` one after the other: the last one cannot run in this generation.
absl::Status CheckWindows(const ParameterLayout& layout, const ElementSizes& sizes,
                          const std::vector<const PlanBody*>& plans, Rank self, size_t window_bytes);

}  // namespace ballast
