// Where blocks should be owned, and how to get there in bounded pieces.
//
// A plan moves homes only as far as one step's forward and backward can hide; what is left goes into later
// plans. So a big move is: PreferredHomes once per look at the load, BoundHomeMoves once per plan.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/layout.h"
#include "plan/plan.h"
#include "plan/validate.h"

namespace ballast {

// Parameters owned by each rank: [rank]. Every home must be a rank.
std::vector<int64_t> HomeElements(const std::vector<Rank>& homes, const ParameterLayout& layout, int ranks);

// [block] -> the rank where the block would best live under `body`'s slots, capacity aside. Expert with one
// slot: that slot's rank, so that neither reduce nor refresh crosses the network. Replicated expert: a block
// that lives on one of the hosts stays while that host has no more than its even share of the expert's
// blocks; the rest go to hosts below it, in block order, so that reduce and refresh use all hosts' links.
// Dense blocks: where they are.
std::vector<Rank> PreferredHomes(const PlanBody& body, const ParameterLayout& layout);

// `current` with as many of the moves to `wanted` as the limits allow, taken in block order: a block stays
// this time when its move would overrun home_move_bytes_max at either end, or the capacity of the rank it
// goes to. Bytes that leave a rank in the same plan do not count as free there: both copies exist during the
// switch. When capacity alone is in the way of every move (full ranks that want each other's blocks), nothing
// moves.
std::vector<Rank> BoundHomeMoves(const std::vector<Rank>& current, const std::vector<Rank>& wanted,
                                 const ParameterLayout& layout, const PlanLimits& limits);

}  // namespace ballast
