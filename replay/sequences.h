// Sequences chosen for ranks in replay and place, and what that saves between nodes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/planner/layer/layer_task.h"
#include "coordinator/planner/layer/sequence_choice.h"

namespace ballast {

struct SequenceQuestion {
  std::string strategy;  // kmeans, or genetic, which also searches which rank gets which cluster
  int ranks = 0;
  int ranks_per_node = 0;  // 0: all on one node
  int layers = 0;          // that are placed
  int experts = 0;
  int64_t evaluations_max = 20'000;
  uint64_t seed = 1;
};

// The genetic search takes time in the cube of the ranks.
inline constexpr int kRemapRanksMax = 256;

// ChooseSequences for that. InvalidArgument names what does not fit: another strategy, ranks out of range
// (for genetic: above kRemapRanksMax) or that nodes do not divide, a single node, a sample of other experts,
// or of more than one layer but not of `layers`.
absl::StatusOr<SequenceChoice> ChooseSequencesFor(const SequenceSample& sample,
                                                  const SequenceQuestion& question);

// What each rank's sequences choose in `layer`; a sample of one layer stands for all.
const CountMatrix& SourcesOfLayer(const SequenceChoice& choice, size_t layer);

// Shares of all assignments of the sample, as the workers would split them.
struct SequenceTraffic {
  double off_node = 0;
  double off_rank = 0;  // those between nodes too
};
// tables[layer]: of as many ranks as the choice. Zeros when the sample is empty.
SequenceTraffic TrafficOf(const SequenceChoice& choice, const std::vector<SlotTable>& tables,
                          int ranks_per_node);

}  // namespace ballast
