// SlotRepairer: the writes of a bounded re-plan, one after the other, on a flow that falls short.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "coordinator/planner/layer/layer_task.h"
#include "coordinator/planner/layer/slot_flow.h"

namespace ballast {

class SlotRepairer {
 public:
  // Writes to `flow`. Both must outlive this.
  SlotRepairer(const LayerTask& task, SlotFlow& flow) : task_(task), flow_(flow) {}

  // At most writes_max writes, until at most `enough` is unrouted. Returns the number of writes. All of them
  // can be undone.
  int Run(int writes_max, int64_t enough);

 private:
  // A rank that may get the expert at hand.
  struct Choice {
    int64_t gain = 0;  // while index is kNotAsked, no more than this
    int rank = 0;
    int index = 0;
    // By falling gain; of equal ones, by rising rank.
    friend bool operator<(const Choice& a, const Choice& b) {
      return a.gain != b.gain ? a.gain > b.gain : a.rank < b.rank;
    }
  };

  static constexpr int kNotAsked = -1;

  struct Redundant {
    int64_t room = 0;   // of its rank when it is overwritten
    int64_t freed = 0;  // of that, what it gives up
    int rank = 0;
    int index = 0;
  };

  int WriteOne(int writes_max);
  int64_t Freed(int g, int i) const;
  void MarkHosts(int e);
  Choice BestSlot(int g, int64_t wanted) const;
  void ListRanks(int64_t wanted, const Choice& last);
  Choice NextChoice(int64_t wanted);
  bool TryOneWrite(int e);
  bool TryTwoWrites(int e);
  void ListRedundant();
  void Apply(int rank, int index, int e, int to_rank, int to_index);

  const LayerTask& task_;
  SlotFlow& flow_;
  std::vector<Choice> open_;          // ranks with room, of the write at hand; the gain is the room
  std::vector<Redundant> redundant_;  // likewise, once asked for
  bool redundant_known_ = false;
  // Of the expert at hand.
  std::vector<char> hosts_;    // [rank] holds it
  std::vector<Choice> ranks_;  // the next that may gain, in order; not asked
  size_t next_rank_ = 0;       // of those
  std::vector<Choice> asked_;  // ranks with their best slots, tried when nothing before them is left
  std::vector<SlotFlow::Change> best_change_;
};

}  // namespace ballast
