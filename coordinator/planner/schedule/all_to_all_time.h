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

// What exchanges say of ports, in bytes per second of a healthy one; nothing where too few were timed.
struct MeasuredPorts {
  std::optional<double> between, inside;
  std::vector<double> slowdowns;  // [rank] of ports between nodes; empty: none is slow
};

// Ports between nodes by what exchanges say, a node's slowed as the mean of its ranks'; else by the
// topology's probed links: a node's port is the mean of its links, both ways, and what is not measured counts
// as the mean of what is. Latencies are those of probes, 0 without any: large messages hardly show them.
// Inside a node nothing is probed: what exchanges say, else kInsideFaster times the fastest port. On one node
// its ports to others, which carry nothing, count as those inside. Nothing when nothing is measured.
inline constexpr double kInsideFaster = 4;
std::optional<Network> NetworkOf(const Topology& topology, const MeasuredPorts& measured = {});

// Seconds of one dispatch, by "direct" (a message from each rank to each), "rails" (to the rank of the other
// node that has the source's place there, which hands on inside) or "two_level" (gathered at a leader of the
// node, one message per ordered pair of nodes, scattered by a leader). Nothing for other names.
std::optional<double> AllToAllSeconds(const std::string& algorithm, const TrafficMatrix& bytes,
                                      const Topology& topology, const Network& network);

// Of `names`, the one of least time; another than `current` only when it takes at most 0.95 of its time.
std::string ChooseAllToAll(const std::vector<std::string>& names, const std::string& current,
                           const TrafficMatrix& bytes, const Topology& topology, const Network& network);

}  // namespace ballast
