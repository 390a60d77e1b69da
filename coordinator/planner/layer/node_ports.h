// What a placement sends between nodes, and a search that balances it beside the tokens.
//
// Tokens of an expert that has no slot in their node cross the network. A placement can be perfectly balanced
// in tokens and keep one rank's port busy alone, because that rank holds what its node alone has; so both are
// packed: vector packing of (tokens, tokens from other nodes), by exchanges from the busiest rank.
#pragma once

#include <cstdint>
#include <vector>

#include "coordinator/planner/layer/layer_task.h"

namespace ballast {

// By rank, under the best split with copies in the own node first. Tokens come from all ranks alike.
struct PortLoads {
  std::vector<double> tokens;  // computed
  std::vector<double> in;      // of them, from other nodes
  std::vector<double> out;     // sent to other nodes
};
// Requires a valid table.
PortLoads PortLoadsOf(const LayerTask& task, const SlotTable& table);

// The busiest port's tokens, each times the slowdown of its rank's port (empty: all are healthy); 0 on one
// node.
double BusiestPort(const LayerTask& task, const SlotTable& table, const std::vector<double>& slowdowns);

// In balanced periods of the layer: the busiest rank's tokens over its speed, and the busiest port's tokens
// over its own. Ports count only among several nodes.
double PortObjective(const LayerTask& task, const SlotTable& table, const PortCosts& costs);

// `table` after exchanges, and copies over redundant ones, each of which lowers the objective; from the rank
// that is busiest in tokens or on its port. At most `evaluations` placements are looked at.
SlotTable BalancePorts(const LayerTask& task, SlotTable table, const PortCosts& costs, int64_t& evaluations);

}  // namespace ballast
