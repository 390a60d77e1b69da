// SplitPack: copies and places in one pass, for loads that may be split over copies.
//
// Packs splittable items into bins of bounded cardinality (strongly NP-hard from three items a bin on; see
// Jaykrishnan and Levin, arXiv 2204.04685, for an approximation scheme). Sliding window: each rank takes the
// window of experts, as many as it has slots, whose loads just reach its capacity; only the last is split,
// and its rest goes back. So there are at most (ranks - 1) extra copies.
#pragma once

#include <optional>

#include "coordinator/planner/layer/layer_task.h"

namespace ballast {

// A placement under which each rank can stay within bound * speed (up to rounding of single tokens), or
// nothing when the window finds none. O(ranks * (slots + experts)).
std::optional<SlotTable> SplitPackAt(const LayerTask& task, double bound);

// The least bound of at least (1 + tolerance) * B1 at which the window succeeds, by bisection; B1 itself
// usually does. Requires a valid task.
SlotTable SplitPack(const LayerTask& task, double tolerance = 0);

// SplitPack with one slot less on each rank, if that still fits; the last slots are then filled with copies
// of the experts of greatest load per copy, on ranks in a seeded order, so that the exact split has room when
// loads drift away from the forecast.
SlotTable SplitPackFilled(const LayerTask& task, uint64_t seed);

// `table` less the copies that it can lose while its best split stays within `bound`. Coldest copies go
// first.
SlotTable DropUnneeded(const LayerTask& task, SlotTable table, double bound);

}  // namespace ballast
