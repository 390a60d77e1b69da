#include "plan/topology.h"

#include <algorithm>

namespace ballast {

std::vector<Rank> Topology::RanksOf(NodeId node) const {
  std::vector<Rank> ranks;
  for (size_t r = 0; r < node_of_rank.size(); ++r) {
    if (node_of_rank[r] == node) ranks.push_back(Rank(static_cast<int32_t>(r)));
  }
  return ranks;
}

LinkSpeed Topology::link(NodeId from, NodeId to) const {
  return links.empty() ? LinkSpeed() : links[from.index() * node_names.size() + to.index()];
}

Topology Topology::FromNodeNames(const std::vector<std::string>& names) {
  Topology topology;
  for (const std::string& name : names) {
    auto known = std::find(topology.node_names.begin(), topology.node_names.end(), name);
    topology.node_of_rank.push_back(NodeId(static_cast<int32_t>(known - topology.node_names.begin())));
    if (known == topology.node_names.end()) topology.node_names.push_back(name);
  }
  return topology;
}

Topology Topology::OneNode(int ranks) {
  return FromNodeNames(std::vector<std::string>(static_cast<size_t>(ranks), "local"));
}

}  // namespace ballast
