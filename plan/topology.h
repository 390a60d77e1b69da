// Topology: which rank runs on which node. Links and their measured speeds join it with telemetry.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/ids.h"

namespace ballast {

struct Topology {
  std::vector<NodeId> node_of_rank;     // [rank]; nodes are numbered 0.. in order of their lowest rank
  std::vector<std::string> node_names;  // [node]

  int ranks() const { return static_cast<int>(node_of_rank.size()); }
  int nodes() const { return static_cast<int>(node_names.size()); }
  NodeId node(Rank rank) const { return node_of_rank[rank.index()]; }
  // Ranks of `node`, rising.
  std::vector<Rank> RanksOf(NodeId node) const;

  // `names[r]` is the node name of rank r. Ranks of a node need not be neighbours.
  static Topology FromNodeNames(const std::vector<std::string>& names);
  // All ranks on one node named "local".
  static Topology OneNode(int ranks);
};

}  // namespace ballast
