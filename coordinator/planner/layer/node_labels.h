// Experts dealt to nodes, one node each: what the strategies that look at co-activation search over.
#pragma once

#include <cstdint>
#include <vector>

#include "coordinator/planner/layer/affinity.h"
#include "coordinator/planner/layer/layer_task.h"

namespace ballast {

// A node's load may lie this far above its share of the mean.
inline constexpr double kNodeLoadCap = 1.05;

struct NodeRoom {
  int places = 0;    // experts that it may hold
  double speed = 0;  // of its ranks that have slots
};
std::vector<NodeRoom> RoomOfNodes(const LayerTask& task);

// Experts by falling load to the node that is then the least loaded for its speed and has a place left.
NodeLabels LabelsByLoad(const LayerTask& task);

// Largest node load per speed, over that of a perfect split.
double NodeOverload(const LayerTask& task, const NodeLabels& labels);

// No more experts on a node than it has places.
bool PlacesHold(const LayerTask& task, const NodeLabels& labels);

// Moves and exchanges experts from the most loaded node until NodeOverload is within `cap` or nothing helps.
void RepairNodeLoads(const LayerTask& task, double cap, NodeLabels& labels);

// Kernighan and Lin's exchange (1970), steepest first, also of an expert with a free place: as long as more
// of the affinity comes to lie inside nodes and no node's load exceeds `cap`. O(experts^2) per exchange.
// Counts looked-at exchanges against `evaluations`.
void ExchangeForAffinity(const LayerTask& task, const Affinity& affinity, double cap, int64_t& evaluations,
                         NodeLabels& labels);

// SplitPack inside each node. Requires that places hold.
SlotTable PackNodes(const LayerTask& task, const NodeLabels& labels);

// The node of each expert's first slot.
NodeLabels LabelsOf(const LayerTask& task, const SlotTable& table);

}  // namespace ballast
