// two_level: gather in the node, one message per ordered pair of nodes, scatter in the other node. Three
// stages; a row crosses the network once and its nodes' inner links up to twice. Pays when small messages
// between nodes dominate.
#include "worker/schedule/two_level.h"

#include <memory>

#include "worker/schedule/all_to_alls.h"

namespace ballast {
namespace {

class TwoLevel final : public AllToAll {
 public:
  std::string name() const override { return "two_level"; }

  // A leader forwards what leaves its node and what enters it.
  std::vector<char> Wanted(const Topology& topology, Rank self) const override {
    std::vector<char> wanted(static_cast<size_t>(topology.ranks()), 0);
    for (Rank rank : topology.RanksOf(topology.node(self))) wanted[rank.index()] = 1;
    return wanted;
  }

  absl::Status Exchange(const AllToAllContext& context, const Route& route, Direction direction,
                        const Compressor& compressor, Matrix in, Matrix out) const override {
    auto stops = [&](const RowRun& run) { return TwoLevelStops(context.topology, run); };
    return CarryRows(context, RunsOf(route, direction), stops, 3, compressor, in, out);
  }
};

}  // namespace

Rank Leader(const Topology& topology, NodeId here, NodeId there) {
  std::vector<Rank> ranks = topology.RanksOf(here);
  return ranks[there.index() % ranks.size()];
}

std::vector<Rank> TwoLevelStops(const Topology& topology, const RowRun& run) {
  const NodeId from = topology.node(run.from);
  const NodeId to = topology.node(run.to);
  if (from == to) return {run.to, run.to, run.to};
  return {Leader(topology, from, to), Leader(topology, to, from), run.to};
}

AllToAllPtr MakeTwoLevel() { return std::make_shared<TwoLevel>(); }

}  // namespace ballast
