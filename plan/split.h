// The exact split of an expert's tokens over its slots, from the actual counts of one microbatch and layer.
//
// Every rank computes it from the same gathered integers and gets the same answer: no clock, no floating point, fixed
// iteration order. Also used by the planner (to predict) and by replay.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "plan/plan.h"
#include "plan/topology.h"

namespace ballast {

// Tokens (assignments: one per token and k) by source rank and expert: counts[source][expert].
using CountMatrix = std::vector<std::vector<int64_t>>;

// How many assignments of one source rank to one expert go to one host.
struct Share {
  Rank host;
  int slot = 0;  // index of the expert's slot on the host
  int64_t count = 0;
};

struct Split {
  // [source][expert] -> shares in the order of rising host; a source's assignments to the expert, in canonical order
  // (sequence, position, k), are dealt to the shares as contiguous runs in this order. Shares of 0 are left out.
  std::vector<std::vector<std::vector<Share>>> shares;
  std::vector<int64_t> rank_tokens;  // [rank] assignments that the rank computes
  // Over all shares: equal on all ranks or something is wrong (it rides in the step header).
  uint64_t hash = 0;
};

// For kExact the busiest rank (relative to its speed) is as little loaded as the hosts allow, to within one assignment per
// host; local assignments stay local where that costs nothing, then those of the same node, then the rest in proportion
// (local first, then node, then proportional). Shares sum to the counts exactly.
// Errors: InvalidArgument when an expert with tokens has no slot or counts are negative or overflow.
absl::StatusOr<Split> ComputeSplit(const CountMatrix& counts, const LayerPlan& layer, int experts,
                                   const std::vector<uint32_t>& speeds, const Topology& topology);

}  // namespace ballast
