// A plan's content on other ranks: what a generation begins with whose members are not those of the one
// before.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "plan/layout.h"
#include "plan/plan.h"
#include "plan/validate.h"

namespace ballast {

// Rank r of the result takes over slots, speed and homes of rank from[r] of the valid plan `body`, or is new
// (nullopt); no rank is taken over twice. `loads` are parts of each layer's tokens, [layer][expert]; empty =
// all equal. What the other ranks held goes as follows, ties to the rank that holds fewer experts, then to
// the lowest rank or expert:
// - an expert that is left without a slot gets one, the heaviest first, at the rank with the least load over
//   speed that has a free slot; when no slot is free, a copy of the expert that has the least load for each
//   of its slots gives way;
// - a new rank takes experts from the ranks with the most load until it has its even share of them, as long
//   as that brings the loads nearer to each other;
// - a block without a home, or whose home has no slot of its expert any more, goes to the rank with the
//   fewest home elements among the hosts of its expert, or of all when these are full or it is dense. Dense
//   blocks beyond a rank's even share leave it, too, so that new ranks get theirs.
// Splits by fractions become exact ones, since their table has lost columns. Deterministic. InvalidArgument
// when the slots of these ranks cannot hold every expert, or the result is not valid within `limits`.
absl::StatusOr<PlanBody> CarryOver(const PlanBody& body, const std::vector<std::optional<Rank>>& from,
                                   const std::vector<std::vector<int64_t>>& loads,
                                   const ParameterLayout& layout, const PlanLimits& limits);

}  // namespace ballast
