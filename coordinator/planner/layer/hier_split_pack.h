// Hierarchical SplitPack: experts to nodes first, so that most copies of an expert share a node and most of
// its tokens and its gradient sums stay off the slow network.
#pragma once

#include "coordinator/planner/layer/layer_task.h"

namespace ballast {

// The hottest experts (above 0.8 of an average rank's load) get places on every node as far as places reach,
// the others one node each, longest first; the exact split evens the nodes; SplitPack packs each node.
SlotTable HierSplitPack(const LayerTask& task);

}  // namespace ballast
