// Lower bounds on the busiest rank's load, to report next to every plan. All are loads per unit of speed.
#pragma once

#include "coordinator/planner/layer/layer_task.h"

namespace ballast {

// B0: a perfect split of everything over all ranks that have slots.
double PerfectBound(const LayerTask& task);

// B1, replicas allowed: an expert of load w needs at least the fewest copies whose ranks, at the greatest
// speeds, hold w under the bound, and all copies must find a slot. Valid for every split; at least B0.
double SlotBound(const LayerTask& task);

// B2, one slot per expert: the larger of B0, the largest expert on the fastest rank and, for every k, the sum
// of the k + 1 smallest of the k G + 1 largest experts (some rank holds k + 1 of them).
double NoReplicaBound(const LayerTask& task);

}  // namespace ballast
