// Relabelling: which rank gets which row of a new placement, so that the fewest slots are written.
#pragma once

#include <cstdint>
#include <vector>

#include "coordinator/planner/layer/layer_task.h"

namespace ballast {

// The one-to-one assignment of rows to columns with the greatest sum of gain[row][column] (square):
// [row] -> column. Hungarian method with potentials (Kuhn; Jonker and Volgenant), O(n^3).
std::vector<int> MaxAssignment(const std::vector<std::vector<int64_t>>& gain);

// `wanted` with whole rows exchanged among ranks of equal speed, slots (and node, when `within_nodes`), and
// indices kept, so that many experts stay where `current` has them. Up to 128 ranks the overlap is the
// greatest possible; above, runs of ranks are matched first and ranks within them then. Both tables must be
// of the task's shape.
SlotTable Relabel(const LayerTask& task, const SlotTable& current, const SlotTable& wanted,
                  bool within_nodes);

}  // namespace ballast
