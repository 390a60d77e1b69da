// How long the rows of one layer travel, by algorithm, on the links that were measured.
//
// Port model: an exchange takes as long as its busiest port, in or out, inside the node or between nodes:
// messages * latency + bytes / bandwidth. Ports of a rank are its own; stages follow each other.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "plan/topology.h"

namespace ballast {

struct PortSpeed {
  double latency = 0;           // seconds a message
  double bytes_per_second = 0;  // above 0
};

struct Network {
  PortSpeed inside;                // a rank's port to its node's other ranks
  std::vector<PortSpeed> between;  // [node] a rank's port to other nodes
};

// Bytes from rank to rank: [source][host].
using TrafficMatrix = std::vector<std::vector<double>>;

// From the topology's measured links: a node's port is the mean of its links, both ways; what is not measured
// counts as the mean of what is. Nothing when no link is measured. Inside a node nothing is probed: it counts
// as kInsideFaster times the fastest port.
inline constexpr double kInsideFaster = 4;
std::optional<Network> NetworkOf(const Topology& topology);

// Seconds of one dispatch, by "direct" (a message from each rank to each), "rails" (to the rank of the other
// node that has the source's place there, which hands on inside) or "two_level" (gathered at a leader of the
// node, one message per ordered pair of nodes, scattered by a leader). Nothing for other names.
std::optional<double> AllToAllSeconds(const std::string& algorithm, const TrafficMatrix& bytes,
                                      const Topology& topology, const Network& network);

// Of `names`, the one of least time; another than `current` only when it takes at most 0.95 of its time.
std::string ChooseAllToAll(const std::vector<std::string>& names, const std::string& current,
                           const TrafficMatrix& bytes, const Topology& topology, const Network& network);

}  // namespace ballast
