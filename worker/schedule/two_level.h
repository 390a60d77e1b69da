// two_level's stops, apart from the exchange so that messages can be counted without one.
#pragma once

#include <vector>

#include "plan/topology.h"
#include "worker/schedule/row_carrier.h"

namespace ballast {

// The rank of node `here` that sends everything for node `there` and receives everything from it. Leaders for
// different peer nodes are spread over the node's ranks.
Rank Leader(const Topology& topology, NodeId here, NodeId there);

// Three stops: gathered in the run's node at its leader, sent to the peer node's leader, scattered there.
// Rows that stay in their node go straight to their end in the first stage.
std::vector<Rank> TwoLevelStops(const Topology& topology, const RowRun& run);

}  // namespace ballast
