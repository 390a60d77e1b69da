// What experts of a layer have in common with each other and with nodes: what strategies bring inside nodes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "coordinator/planner/layer/coactivation_matrix.h"
#include "coordinator/planner/layer/layer_task.h"
#include "plan/balance.h"

namespace ballast {

// [expert] -> node.
using NodeLabels = std::vector<int>;

class Affinity {
 public:
  // Experts that one token chose. `together` must outlive the affinity.
  static Affinity OfPairs(const CoactivationMatrix& together);
  // Experts and the nodes whose ranks' tokens choose them; sources[rank][expert].
  static Affinity OfSources(const CountMatrix& sources, const std::vector<int>& node_of_rank);

  int64_t between(int a, int b) const { return together_ ? together_->at(a, b) : 0; }
  int64_t to_node(int expert, int node) const {
    return nodes_ > 0 ? own_[static_cast<size_t>(expert) * nodes_ + static_cast<size_t>(node)] : 0;
  }
  // The share of all that is inside nodes: pairs on one node, tokens in the node they come from; 1 when there
  // is none.
  double Inside(const NodeLabels& labels) const;

 private:
  const CoactivationMatrix* together_ = nullptr;
  size_t nodes_ = 0;
  std::vector<int64_t> own_;  // [expert * nodes + node]
};

// Share of the pairs of experts chosen by one token that lie on one node; 1 when there are none.
double PairsInside(const CoactivationMatrix& together, const NodeLabels& labels);

// `table` with whole rows exchanged among ranks of a node that are alike in speed and slots, so that the
// tokens of sources[rank][expert] find most of their experts on their own rank (one copy of each counted).
SlotTable NearestRows(const LayerTask& task, const CountMatrix& sources, const SlotTable& table);

}  // namespace ballast
