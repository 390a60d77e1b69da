// SlotFlow: which load each slot carries under a bound on the ranks, kept as slots change.
//
// A maximum flow from experts over slots to ranks, by augmenting breadth-first paths (Edmonds and Karp). A
// changed slot opens paths through its rank alone, so only those are looked for: from the expert that lost
// the slot, and backwards from the rank. What a change did is kept in a journal and can be undone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "coordinator/planner/layer/layer_task.h"
#include "plan/copies.h"
#include "plan/least_bound.h"

namespace ballast {

class SlotFlow {
 public:
  // A change of one figure, with what it was before.
  enum class Kind : uint8_t { kFlow, kSpare, kLeft, kHeld };
  struct Change {
    Kind kind;
    int index;
    int64_t before;
  };

  // Routes as much of the load as `bound` (per unit of speed) allows. Requires a valid table; `task` must
  // outlive this.
  SlotFlow(const LayerTask& task, const SlotTable& table, double bound);

  // The same under a bound that is no lower: what is routed stays. Forgets the states of before.
  void Raise(double bound);

  // Replaces what the slot holds (kNoExpert empties it) and routes again. An expert that loses its last slot
  // is unrouted until it gets another. The rank must not hold the expert yet.
  void Write(int rank, int index, int expert);

  // The state of now, and back to it. States are given back in reverse order; 0 is the state since the last
  // Raise (the journal grows until the next). `undone`, where given, is replaced by what Redo needs.
  size_t Mark() const { return journal_.size(); }
  void Undo(size_t mark, std::vector<Change>* undone = nullptr);
  // Right after the Undo that gave it: the state of before that.
  void Redo(const std::vector<Change>& undone);

  // What a new slot for the expert can bring at most: its unrouted load, and that of experts that could use
  // its present slots when it leaves them.
  int64_t Wanting(int expert);

  // The least bound under which everything has room: B3 of the present slots, as PlacedBound gives it, or a
  // lower one that is at least `enough`. Found from the flow of now, which is used up: only the slots are
  // what they were. Requires unrouted load.
  double RaiseUntilRouted(double enough = std::numeric_limits<double>::infinity());

  // Slots written since the last Raise; one that was written twice is named twice.
  struct Place {
    int rank = 0;
    int index = 0;
  };
  std::vector<Place> written() const;
  // The slots turned around.
  Copies hosts() const;
  SlotTable table() const;
  int slots(int rank) const { return ranks_[rank + 1].begin - ranks_[rank].begin; }
  int held(int rank, int index) const { return slots_[ranks_[rank].begin + index].held; }
  // `visit`(rank) for every host of the expert, by rising rank.
  template <typename Visit>
  void ForHosts(int expert, const Visit& visit) const {
    const OfExpert& of = experts_[expert];
    for (int i = 0; i < of.copies; ++i) visit(slots_[hosts_[of.first + i]].rank);
  }
  int64_t unrouted() const { return unrouted_; }                    // in all
  int64_t left(int expert) const { return experts_[expert].left; }  // of one expert
  int64_t spare(int rank) const { return ranks_[rank].spare; }
  int64_t flow(int rank, int index) const { return slots_[ranks_[rank].begin + index].flow; }
  int copies(int expert) const { return experts_[expert].copies; }

 private:
  struct OfSlot {
    int64_t flow = 0;
    int32_t held = kNoExpert;
    int32_t rank = 0;
  };
  struct OfExpert {
    int64_t left = 0;
    uint32_t seen = 0;  // the last search that saw it; kStuck
    int32_t first = 0;  // its slots are hosts_[first] and on, rising
    int32_t copies = 0;
    int32_t room = 0;  // so many fit there
  };
  // One more at the end, for `begin` alone.
  struct OfRank {
    int64_t spare = 0;
    int32_t begin = 0;  // its first slot
    // How a search came to it.
    uint32_t search = 0;  // which search; others' steps are old
    int32_t slot = -1;    // on this rank, of the expert it came by
    int32_t via = -1;     // that expert's slot on the rank before; -1: the start
  };
  // In OfExpert::seen, while all are routed: no path leads from it to room. Beyond all searches' numbers.
  static constexpr uint32_t kStuck = ~uint32_t{0};

  int ranks() const { return static_cast<int>(capacity_.size()); }
  int experts() const { return static_cast<int>(experts_.size()); }
  void SetFlow(int slot, int64_t value);
  void SetSpare(int rank, int64_t value);
  void SetLeft(int expert, int64_t value);
  void Carry(int slot, int64_t amount);        // of its expert's unrouted load
  void Host(int slot, int expert);             // changes hosts_
  int64_t Figure(const Change& change) const;  // of now
  void Apply(const Change& change);
  void RouteAll();
  void RouteDirectly(int expert);
  bool AugmentFrom(int expert);
  int AugmentTo(int rank);
  void AugmentAll();
  // Moves load of `rank` elsewhere, at most `amount`; how much.
  int64_t MakeRoom(int rank, int64_t amount);
  int SearchFrom(int expert);
  int SearchOn();
  void StickVisited();
  int64_t Shift(int end, int64_t amount);
  LoadRatio BoundOfCuts();

  const LayerTask* task_;
  bool one_speed_ = false;
  int64_t total_ = 0;
  std::vector<OfRank> ranks_;
  std::vector<OfSlot> slots_;
  std::vector<OfExpert> experts_;
  std::vector<int> hosts_;         // slots by expert, with gaps
  std::vector<int64_t> capacity_;  // [rank]
  int64_t unrouted_ = 0;
  bool journaling_ = false;
  std::vector<Change> journal_;
  // Of searches; members so that their memory is used again.
  uint32_t search_ = 0;
  // How far the last search has come.
  struct Cursor {
    int queued = 0, seen = 0;    // ranks in queue_, experts in visited_
    int next = 0;                // of the queue: the rank that comes after the one at hand
    int slot = 0, slot_end = 0;  // of the rank at hand: those not looked at
    int host = 0, host_end = 0;  // of the expert at hand: likewise
    int via = -1;                // how the search came to the expert
  };
  Cursor cursor_;
  std::vector<int> queue_;                 // ranks
  std::vector<int> visited_;               // experts
  std::vector<int> cut_;                   // ranks of a bound
  bool path_stands_ = false;               // after Shift: its path leads on where its end was
  std::vector<std::pair<int, int>> path_;  // of AugmentTo: slots that lose and gain
};

}  // namespace ballast
