// SlotFlow: which load each slot carries under a bound on the ranks, kept as slots change.
//
// A maximum flow from experts over slots to ranks, by augmenting breadth-first paths (Edmonds and Karp). A
// changed slot costs a few paths, not a new flow.
#pragma once

#include <cstdint>
#include <vector>

#include "coordinator/planner/layer/layer_task.h"

namespace ballast {

// A value: copies are independent, which is how a change is tried and undone.
class SlotFlow {
 public:
  // Routes as much of the load as `bound` (per unit of speed) allows. Requires a valid table; `task` must
  // outlive this.
  SlotFlow(const LayerTask& task, SlotTable table, double bound);

  // Replaces what the slot holds (kNoExpert empties it) and routes again. An expert that loses its last slot
  // is unrouted until it gets another. The rank must not hold the expert yet.
  void Write(int rank, int index, int expert);

  const SlotTable& table() const { return table_; }
  int64_t unrouted() const { return unrouted_; }            // in all
  int64_t left(int expert) const { return left_[expert]; }  // of one expert
  int64_t spare(int rank) const { return spare_[rank]; }
  int64_t flow(int rank, int index) const { return flow_[rank][index]; }
  int copies(int expert) const { return static_cast<int>(hosts_[expert].size()); }

 private:
  struct Place {
    int rank = 0;
    int index = 0;
  };

  void Route();
  bool Augment(int expert);

  SlotTable table_;
  std::vector<std::vector<int64_t>> flow_;  // [rank][index]
  std::vector<int64_t> spare_;              // [rank]
  std::vector<int64_t> left_;               // [expert]
  std::vector<std::vector<Place>> hosts_;   // [expert]
  int64_t unrouted_ = 0;
  // Of the searches of one Route; members so that their memory is used again.
  struct Step {
    int into = -1;                        // index of the slot on this rank that gains
    int from_rank = -1, from_index = -1;  // the slot of the same expert that gives it up; -1: the start
  };
  std::vector<char> stuck_;  // [expert] no path leads from it to room
  std::vector<Step> step_;   // [rank]
  std::vector<char> seen_;   // [expert]
  std::vector<int> queue_;
};

}  // namespace ballast
