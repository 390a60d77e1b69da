// SlotFlow: which load each slot carries under a bound on the ranks, kept as slots change.
//
// A maximum flow from experts over slots to ranks, by augmenting breadth-first paths (Edmonds and Karp). A
// changed slot opens paths through its rank alone, so only those are looked for: from the expert that lost
// the slot, and backwards from the rank. What a change did is kept in a journal and can be undone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "coordinator/planner/layer/layer_task.h"
#include "plan/copies.h"

namespace ballast {

class SlotFlow {
 public:
  // Routes as much of the load as `bound` (per unit of speed) allows. Requires a valid table; `task` must
  // outlive this.
  SlotFlow(const LayerTask& task, const SlotTable& table, double bound);

  // The same under a bound that is no lower: what is routed stays. Forgets the states of before.
  void Raise(const LayerTask& task, double bound);

  // Replaces what the slot holds (kNoExpert empties it) and routes again. An expert that loses its last slot
  // is unrouted until it gets another. The rank must not hold the expert yet.
  void Write(int rank, int index, int expert);

  // The state of now, and back to it. States are given back in reverse order; 0 is the state since the last
  // Raise (the journal grows until the next).
  size_t Mark() const { return journal_.size(); }
  void Undo(size_t mark);

  SlotTable table() const;
  // The same turned around.
  Copies hosts() const;
  int slots(int rank) const { return begin_[rank + 1] - begin_[rank]; }
  int held(int rank, int index) const { return held_[begin_[rank] + index]; }
  // `visit`(rank) for every host of the expert, by rising rank.
  template <typename Visit>
  void ForHosts(int expert, const Visit& visit) const {
    for (int slot : hosts_[expert]) visit(rank_of_slot_[slot]);
  }
  int64_t unrouted() const { return unrouted_; }            // in all
  int64_t left(int expert) const { return left_[expert]; }  // of one expert
  int64_t spare(int rank) const { return spare_[rank]; }
  int64_t flow(int rank, int index) const { return flow_[begin_[rank] + index]; }
  int copies(int expert) const { return copies_[expert]; }

 private:
  // How a search came to a rank.
  struct Step {
    uint32_t search = 0;  // which search; others' steps are old
    int slot = -1;        // on this rank, of the expert it came by
    int via = -1;         // that expert's slot on the rank before; -1: the start
  };
  enum class Kind : uint8_t { kFlow, kSpare, kLeft, kHeld };
  struct Entry {
    Kind kind;
    int index;
    int64_t before;
  };

  void Set(Kind kind, int index, int64_t value);
  void Carry(int slot, int64_t amount);  // of its expert's unrouted load
  void Host(int slot, int expert);       // changes hosts_
  void RouteAll();
  void RouteDirectly(int expert);
  bool AugmentFrom(int expert);
  bool AugmentTo(int rank);
  // Moves load of `rank` elsewhere, at most `amount`; how much.
  int64_t MakeRoom(int rank, int64_t amount);
  int Search(int expert, int rank);
  int64_t Shift(int end, int64_t amount);

  std::vector<int> begin_;               // [rank] its first slot; one more at the end
  std::vector<int> rank_of_slot_;        // [slot]
  std::vector<int> held_;                // [slot]
  std::vector<int64_t> flow_;            // [slot]
  std::vector<int64_t> spare_;           // [rank]
  std::vector<int64_t> left_;            // [expert]
  std::vector<std::vector<int>> hosts_;  // [expert] slots
  std::vector<int> copies_;              // [expert] how many those are
  std::vector<int64_t> capacity_;        // [rank]
  int64_t unrouted_ = 0;
  std::vector<Entry> journal_;
  // Of searches; members so that their memory is used again.
  uint32_t search_ = 0;
  std::vector<Step> step_;       // [rank]
  std::vector<uint32_t> seen_;   // [expert] the last search that saw it
  std::vector<uint32_t> stuck_;  // [expert] of RouteAll: no path leads from it to room
  std::vector<int> queue_;
};

}  // namespace ballast
