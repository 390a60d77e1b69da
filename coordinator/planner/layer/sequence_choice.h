// Which sequences each rank gets, so that the experts they choose can be near: kmeans and genetic plan every
// layer for the same choice.
#pragma once

#include <cstdint>
#include <vector>

#include "coordinator/planner/layer/sequence_sample.h"
#include "plan/balance.h"

namespace ballast {

struct SequenceChoice {
  std::vector<int> rank_of_sequence;  // [sequence]
  std::vector<CountMatrix> sources;   // [layer][rank][expert] what each rank's sequences choose
};

// A token from another node, in tokens from another rank of the same node.
inline constexpr double kNodeDistance = 8;

// Sequences as data come, without a choice: equal runs in the sample's order.
SequenceChoice InOrder(const SequenceSample& sample, int ranks);

// Clusters sequences by the experts they choose, into nodes first and into ranks of a node then; every rank
// gets as many as any other, give or take one. `remap`: which rank gets which cluster is then searched by
// RemapClusters, within `evaluations`. Ranks of a node need not be neighbours. A function of the arguments
// alone.
SequenceChoice ChooseSequences(const SequenceSample& sample, const std::vector<int>& node_of_rank, bool remap,
                               int64_t evaluations, uint64_t seed);

// covered[a][b] of RemapClusters, summed over layers: assignments of rank b's sequences to experts of which
// the sequences of no rank choose more than those of rank a.
CountMatrix CoverageOf(const std::vector<CountMatrix>& sources);

}  // namespace ballast
