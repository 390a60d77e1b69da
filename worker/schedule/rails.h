// rails' stops, apart from the exchange so that messages and ports can be counted without one.
#pragma once

#include <vector>

#include "plan/topology.h"
#include "worker/schedule/all_to_all.h"
#include "worker/schedule/row_carrier.h"

namespace ballast {

// Which rank of a node is on whose rail: the i-th rank of a node is on the rail of the i-th of every other
// node, and where that has fewer ranks, on that of the (i modulo its ranks)-th.
class Rails {
 public:
  explicit Rails(const Topology& topology);

  // The rank of node `there` on `rank`'s rail.
  Rank On(Rank rank, NodeId there) const {
    const std::vector<Rank>& ranks = ranks_[there.index()];
    return ranks[static_cast<size_t>(place_[rank.index()]) % ranks.size()];
  }

  // Two stops. Dispatch: over the network to the host's node on the source's rail, then inside that node.
  // Combine: the same way back. Rows that stay in their node go straight to their end in the first stage.
  std::vector<Rank> Stops(const RowRun& run, Direction direction) const;

 private:
  const Topology& topology_;
  std::vector<std::vector<Rank>> ranks_;  // [node]
  std::vector<int> place_;                // [rank] in its node
};

}  // namespace ballast
