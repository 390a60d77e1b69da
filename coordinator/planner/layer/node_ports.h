// What a placement sends between nodes, and a search that balances it beside the tokens.
//
// Tokens of an expert that has no slot in their node cross the network. A placement can be perfectly balanced
// in tokens and keep one rank's port busy alone, because that rank holds what its node alone has; so both are
// packed: vector packing of (tokens, tokens over the port), by exchanges from the busiest rank. A port
// carries what the better all-to-all gives it: rows sent straight to their hosts meet on the hosts' ports,
// rows on rails on those of their sources, which the split evens (plan/deal.h), and are handed on inside the
// node.
#pragma once

#include <cstdint>
#include <vector>

#include "coordinator/planner/layer/layer_task.h"

namespace ballast {

// By rank, under the best split with copies in the own node first. Tokens come from all ranks alike.
struct PortLoads {
  std::vector<double> tokens;    // computed
  std::vector<double> in;        // of them, from other nodes
  std::vector<double> out;       // sent to other nodes
  std::vector<double> rails_in;  // from other nodes over its port, when rows go on rails
};
// Requires a valid table.
PortLoads PortLoadsOf(const LayerTask& task, const SlotTable& table);

// How long rows take between nodes by the better all-to-all that `costs` allows, in tokens over a healthy
// port: the busiest port's, each times its slowdown; on rails also what the busiest rank hands on or is
// handed inside its node. 0 on one node.
double BusiestPort(const LayerTask& task, const SlotTable& table, const PortCosts& costs);

// In balanced periods of the layer: the busiest rank's tokens over its speed, and BusiestPort. Ports count
// only among several nodes.
double PortObjective(const LayerTask& task, const SlotTable& table, const PortCosts& costs);

// `table` after exchanges, and copies over redundant ones, each of which lowers the objective; from the rank
// that is busiest in tokens or on its port, and where none helps from the next. At most `evaluations`
// placements are looked at.
SlotTable BalancePorts(const LayerTask& task, SlotTable table, const PortCosts& costs, int64_t& evaluations);

}  // namespace ballast
