// rails: rows cross the network on the source's rail and are handed on inside the host's node, and come back
// the same way. Two stages, one message per rank and other node on the network; a row crosses the network
// once and an inner link once more than with direct.
//
// What a port carries does not depend on where experts are: out, what its own rank's tokens want of other
// nodes; in, what the tokens of its rail want of this one. Sources route alike, so ports are even, however
// uneven hosts are. (PXN in NCCL and the dispatch of DeepEP cross the network on rails too.)
#include "worker/schedule/rails.h"

#include <memory>

#include "worker/schedule/all_to_alls.h"

namespace ballast {
namespace {

class RailsAllToAll final : public AllToAll {
 public:
  std::string name() const override { return "rails"; }

  // What a rank hands on comes from sources of its rail.
  std::vector<char> Wanted(const Topology& topology, Rank self) const override {
    const Rails rails(topology);
    std::vector<char> wanted(static_cast<size_t>(topology.ranks()), 0);
    for (int r = 0; r < topology.ranks(); ++r) {
      wanted[static_cast<size_t>(r)] = Rank(r) == self || rails.On(Rank(r), topology.node(self)) == self;
    }
    return wanted;
  }

  absl::Status Exchange(const AllToAllContext& context, const Route& route, Direction direction,
                        const Compressor& compressor, Matrix in, Matrix out) const override {
    const Rails rails(context.topology);
    auto stops = [&](const RowRun& run) { return rails.Stops(run, direction); };
    return CarryRows(context, RunsOf(route, direction), stops, 2, compressor, in, out);
  }
};

}  // namespace

Rails::Rails(const Topology& topology) : topology_(topology), ranks_(static_cast<size_t>(topology.nodes())) {
  for (int r = 0; r < topology.ranks(); ++r) {
    std::vector<Rank>& ranks = ranks_[topology.node(Rank(r)).index()];
    place_.push_back(static_cast<int>(ranks.size()));
    ranks.push_back(Rank(r));
  }
}

std::vector<Rank> Rails::Stops(const RowRun& run, Direction direction) const {
  const NodeId from = topology_.node(run.from), to = topology_.node(run.to);
  if (from == to) return {run.to, run.to};
  return {direction == Direction::kDispatch ? On(run.from, to) : On(run.to, from), run.to};
}

AllToAllPtr MakeRails() { return std::make_shared<RailsAllToAll>(); }

}  // namespace ballast
