// Topology: which rank runs on which node, and what was measured between nodes.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/ids.h"

namespace ballast {

// One direction between two nodes, as probes measured it.
struct LinkSpeed {
  double latency_seconds = 0;   // one way
  double bytes_per_second = 0;  // 0 = not measured
  friend bool operator==(const LinkSpeed&, const LinkSpeed&) = default;
};

struct Topology {
  std::vector<NodeId> node_of_rank;     // [rank]; nodes are numbered 0.. in order of their lowest rank
  std::vector<std::string> node_names;  // [node]
  // [from * nodes + to]; empty = nothing is measured. Differs between processes: nothing that ranks must
  // agree on may depend on it.
  std::vector<LinkSpeed> links;

  int ranks() const { return static_cast<int>(node_of_rank.size()); }
  int nodes() const { return static_cast<int>(node_names.size()); }
  NodeId node(Rank rank) const { return node_of_rank[rank.index()]; }
  // Zeros when it is not measured.
  LinkSpeed link(NodeId from, NodeId to) const;
  // Ranks of `node`, rising.
  std::vector<Rank> RanksOf(NodeId node) const;

  // `names[r]` is the node name of rank r. Ranks of a node need not be neighbours.
  static Topology FromNodeNames(const std::vector<std::string>& names);
  // All ranks on one node named "local".
  static Topology OneNode(int ranks);
};

}  // namespace ballast
