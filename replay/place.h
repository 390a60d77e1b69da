// Place: one good placement for given loads, for those who only want a layout.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/planner/layer/coactivation_matrix.h"
#include "coordinator/planner/layer/layer_task.h"
#include "replay/sequences.h"

namespace ballast {

struct PlaceOptions {
  int ranks = 0;
  int ranks_per_node = 0;  // 0: all on one node
  int slots = 0;           // per rank
  std::string strategy = "auto";
  double sync_cost =
      0.002;  // each step, of one slot of a much replicated expert, in balanced steps of the layer
  int64_t evaluations_max = 20'000;
  uint64_t seed = 1;
  // Sequences that ranks get, for kmeans and genetic instead of pairs; null: none were chosen.
  const SequenceChoice* sequences = nullptr;
};

// Strategies that look at a sample of tokens.
bool UsesSample(const std::string& strategy);

// OK, or InvalidArgument: the strategy brings experts to each other or to sequences, which takes a sample of
// tokens (`pairs`, or for kmeans and genetic `sequences`) and several nodes; without, it would do nothing.
absl::Status CheckSampleOf(const std::string& strategy, bool pairs, bool sequences, int nodes);

// OK, or InvalidArgument: pairs of other experts, or of more than one layer but not of `layers`.
absl::Status CheckPairs(const std::vector<CoactivationMatrix>& together, int layers, int experts);
// Those of `layer`; one for all layers stands for each. Null where there are none.
const CoactivationMatrix* PairsOfLayer(const std::vector<CoactivationMatrix>& together, size_t layer);

// Leaves ranks as many slots as they can use, one for each expert. InvalidArgument: what CheckTask says, or
// more slots in all layers than fit into memory with what strategies keep of each.
absl::Status FitSlots(LayerTask& task, size_t layers);

struct PlacedLayer {
  SlotTable table;
  std::vector<std::vector<uint32_t>> fractions;  // [rank][index] parts per 2^16; empty: the exact split
  double contiguous_imbalance = 1;  // max/mean with the best split of the layout that every job starts from
  double imbalance = 1;             // and of this one
  double bound = 1;                 // no placement in these slots is below it
};

// Places every layer of `loads` ([layer][expert] tokens) anew. `together` may be empty, else it has a
// matrix for each layer or one for all. NotFound for an unknown strategy; InvalidArgument names what is
// impossible: loads without layers or of unequal width, counts out of range, slots that cannot hold all
// experts or are too many (FitSlots), ranks that nodes do not divide, what CheckSampleOf says.
absl::StatusOr<std::vector<PlacedLayer>> Place(const std::vector<std::vector<int64_t>>& loads,
                                               const std::vector<CoactivationMatrix>& together,
                                               const PlaceOptions& options);

}  // namespace ballast
