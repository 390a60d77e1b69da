#include "coordinator/planner/layer/flow_repair.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "coordinator/planner/layer/bounds.h"
#include "coordinator/planner/layer/exchange.h"
#include "coordinator/planner/layer/slot_flow.h"

namespace ballast {
namespace {

// Ranks whose coldest expert is considered for moving away.
constexpr size_t kEvictionRanks = 8;
// What cannot be reached with few writes is aimed at from further away: headrooms, in units of the wanted
// one.
constexpr double kRetries[] = {1, 2, 4};
// Helpful writes whose flows are compared.
constexpr int kCompared = 4;

bool HasShape(const LayerTask& task, const SlotTable& table) {
  for (int g = 0; g < task.ranks(); ++g) {
    if (table[g].size() != static_cast<size_t>(task.slots[g])) return false;
  }
  return true;
}

// Rows cut or lengthened to the shape of the task.
SlotTable Shaped(const LayerTask& task, SlotTable table) {
  for (int g = 0; g < task.ranks(); ++g) table[g].resize(static_cast<size_t>(task.slots[g]), kNoExpert);
  return table;
}

std::vector<int> Homeless(const std::vector<int>& copies) {
  std::vector<int> homeless;
  for (size_t e = 0; e < copies.size(); ++e) {
    if (copies[e] == 0) homeless.push_back(static_cast<int>(e));
  }
  return homeless;
}

// `table` with every expert held somewhere. `homeless`: those that are not.
SlotTable Complete(const LayerTask& task, SlotTable table, std::vector<int> homeless) {
  std::vector<int> copies = CopiesOf(table, task.experts());
  std::vector<int64_t> load(table.size(), 0);
  for (size_t g = 0; g < table.size(); ++g) {
    for (int e : table[g]) load[g] += e == kNoExpert ? 0 : task.load[e] / copies[e];
  }
  std::stable_sort(homeless.begin(), homeless.end(),
                   [&](int a, int b) { return task.load[a] > task.load[b]; });
  for (int e : homeless) {
    // An empty slot, else the one of the least load among experts with other copies.
    int rank = -1, index = -1;
    double best = 0;
    for (int g = 0; g < task.ranks(); ++g) {
      for (size_t i = 0; i < table[g].size(); ++i) {
        const int held = table[g][i];
        if (held != kNoExpert && copies[held] < 2) continue;
        const double freed = held == kNoExpert ? 0 : static_cast<double>(task.load[held]) / copies[held];
        const double total = static_cast<double>(task.total_load());
        const double score = static_cast<double>(load[g]) / task.speeds[g] +
                             (held == kNoExpert ? 0 : (total + freed) / task.speeds[g]);
        if (rank >= 0 && score >= best) continue;
        rank = g;
        index = static_cast<int>(i);
        best = score;
      }
    }
    int& held = table[rank][index];
    if (held != kNoExpert) {
      load[rank] -= task.load[held] / copies[held];
      --copies[held];
    }
    held = e;
    copies[e] = 1;
    load[rank] += task.load[e];
  }
  return table;
}

class Repairer {
 public:
  // Writes to `flow`.
  Repairer(const LayerTask& task, SlotFlow& flow) : task_(task), flow_(flow) {}

  // At most writes_max writes, until at most `enough` is unrouted. Returns the number of writes. All of them
  // can be undone.
  int Run(int writes_max, int64_t enough) {
    int writes = 0;
    while (writes < writes_max && flow_.unrouted() > enough) {
      const int used = WriteOne(writes_max - writes);
      if (used == 0) break;
      writes += used;
    }
    return writes;
  }

 private:
  struct Choice {
    int64_t gain = 0;
    int rank = 0;
    int index = 0;
  };

  static constexpr int kNotAsked = -1;  // index of a choice whose gain is a bound

  struct Redundant {
    int64_t room = 0;   // of its rank when it is overwritten
    int64_t freed = 0;  // of that, what it gives up
    int rank = 0;
    int index = 0;
  };

  // One improving change for the expert with most unrouted load that has one. Returns its writes, 0 = none.
  int WriteOne(int writes_max) {
    std::vector<int> experts;
    for (int e = 0; e < task_.experts(); ++e) {
      if (flow_.left(e) > 0) experts.push_back(e);
    }
    std::stable_sort(experts.begin(), experts.end(),
                     [&](int a, int b) { return flow_.left(a) > flow_.left(b); });
    // What is tried in vain is undone, so this holds until the write.
    open_.clear();
    for (int g = 0; g < task_.ranks(); ++g) {
      if (flow_.spare(g) > 0) open_.push_back(g);
    }
    redundant_known_ = false;
    for (int e : experts) {
      if (TryOneWrite(e)) return 1;
      if (writes_max >= 2 && TryTwoWrites(e)) return 2;
    }
    return 0;
  }

  // Load that a slot gives up when it is overwritten; its expert has other copies. -1: it must stay.
  int64_t Freed(int g, int i) const {
    const int held = flow_.held(g, i);
    if (held == kNoExpert) return 0;
    return flow_.copies(held) > 1 ? flow_.flow(g, i) : -1;
  }

  void MarkHosts(int e) {
    hosts_.assign(static_cast<size_t>(task_.ranks()), 0);
    flow_.ForHosts(e, [&](int rank) { hosts_[rank] = 1; });
  }

  // The slot of rank `g` that gains most for `e`, of those that have not been tried in vain; its gain is 0
  // when there is none.
  Choice BestSlot(int e, int g, int64_t wanted) const {
    const int64_t spare = flow_.spare(g);
    Choice best;
    for (int i = 0; i < flow_.slots(g); ++i) {
      const int64_t freed = Freed(g, i);
      if (freed < 0) continue;
      const int64_t gain = std::min(spare + freed, wanted) - freed;
      if (gain > best.gain && !tabu_.count({e, g, flow_.held(g, i)})) best = {gain, g, i};
    }
    return best;
  }

  bool TryOneWrite(int e) {
    // A heap: few of them are looked at.
    std::vector<Choice>& choices = choices_;
    choices.clear();
    const auto later = [](const Choice& a, const Choice& b) {
      return a.gain != b.gain ? a.gain < b.gain : a.rank > b.rank;
    };
    MarkHosts(e);
    const int64_t wanted = flow_.left(e);
    // No gain is larger than the room or what is wanted; which it is turns out when a rank's turn has come.
    for (int g : open_) {
      if (!hosts_[g]) choices.push_back({std::min(flow_.spare(g), wanted), g, kNotAsked});
    }
    std::make_heap(choices.begin(), choices.end(), later);
    // The gain above ignores what can be routed around; the first few are compared by a real flow.
    int compared = 0;
    std::optional<Choice> best;
    int64_t least = flow_.unrouted();
    while (!choices.empty() && compared < kCompared) {
      std::pop_heap(choices.begin(), choices.end(), later);
      const Choice choice = choices.back();
      choices.pop_back();
      if (choice.index == kNotAsked) {
        const Choice asked = BestSlot(e, choice.rank, wanted);
        if (asked.gain == 0) continue;
        choices.push_back(asked);
        std::push_heap(choices.begin(), choices.end(), later);
        continue;
      }
      const size_t mark = flow_.Mark();
      const int64_t before = flow_.unrouted();
      const int held = flow_.held(choice.rank, choice.index);
      flow_.Write(choice.rank, choice.index, e);
      const int64_t unrouted = flow_.unrouted();
      flow_.Undo(mark);
      if (unrouted >= before) {
        tabu_.insert({e, choice.rank, held});
        continue;
      }
      ++compared;
      if (unrouted >= least) continue;
      least = unrouted;
      best = choice;
    }
    if (!best) return false;
    flow_.Write(best->rank, best->index, e);
    return true;
  }

  // The rank's coldest single copy makes room for `e` and goes to an empty or redundant slot elsewhere.
  bool TryTwoWrites(int e) {
    struct Eviction {
      int64_t room = 0;
      int64_t load = 0;
      int rank = 0, index = 0;
    };
    std::vector<Eviction> evictions;
    MarkHosts(e);
    for (int g = 0; g < task_.ranks(); ++g) {
      if (hosts_[g]) continue;
      Eviction coldest{0, -1, g, 0};
      for (int i = 0; i < flow_.slots(g); ++i) {
        const int held = flow_.held(g, i);
        if (held == kNoExpert || flow_.copies(held) != 1) continue;
        const int64_t load = flow_.flow(g, i);
        if (coldest.load >= 0 && load >= coldest.load) continue;
        coldest = {flow_.spare(g) + load, load, g, i};
      }
      if (coldest.load >= 0) evictions.push_back(coldest);
    }
    const auto roomier = [](const Eviction& a, const Eviction& b) {
      return a.room - a.load != b.room - b.load ? a.room - a.load > b.room - b.load : a.rank < b.rank;
    };
    const size_t kept = std::min(evictions.size(), kEvictionRanks);
    std::partial_sort(evictions.begin(), evictions.begin() + static_cast<ptrdiff_t>(kept), evictions.end(),
                      roomier);
    evictions.resize(kept);
    if (evictions.empty()) return false;
    ListRedundant();

    struct Move {
      int64_t gain = 0;
      Eviction eviction;
      int to_rank = 0, to_index = 0;
    };
    std::vector<Move> moves;
    for (const Eviction& eviction : evictions) {
      const int64_t here = std::min(eviction.room, flow_.left(e)) - eviction.load;
      Move best;
      for (const Redundant& slot : redundant_) {
        if (slot.rank == eviction.rank) continue;
        const int64_t gain = here + std::min(slot.room, eviction.load) - slot.freed;
        if (gain > best.gain) best = {gain, eviction, slot.rank, slot.index};
      }
      if (best.gain > 0) moves.push_back(best);
    }
    const Move* best = nullptr;
    int64_t least = flow_.unrouted();
    for (const Move& move : moves) {
      const size_t mark = flow_.Mark();
      Apply(move.eviction.rank, move.eviction.index, e, move.to_rank, move.to_index);
      const int64_t unrouted = flow_.unrouted();
      flow_.Undo(mark);
      if (unrouted >= least) continue;
      least = unrouted;
      best = &move;
    }
    if (best == nullptr) return false;
    Apply(best->eviction.rank, best->eviction.index, e, best->to_rank, best->to_index);
    return true;
  }

  // Slots that may be overwritten: empty ones and those whose expert has other copies.
  void ListRedundant() {
    if (redundant_known_) return;
    redundant_known_ = true;
    redundant_.clear();
    for (int g = 0; g < task_.ranks(); ++g) {
      for (int i = 0; i < flow_.slots(g); ++i) {
        const int64_t freed = Freed(g, i);
        if (freed >= 0) redundant_.push_back({flow_.spare(g) + freed, freed, g, i});
      }
    }
  }

  // `e` into the first slot, what that held into the second.
  void Apply(int rank, int index, int e, int to_rank, int to_index) {
    const int evicted = flow_.held(rank, index);
    flow_.Write(rank, index, e);
    flow_.Write(to_rank, to_index, evicted);
  }

  const LayerTask& task_;
  SlotFlow& flow_;
  std::vector<int> open_;             // ranks with room, of the write at hand
  std::vector<Redundant> redundant_;  // likewise, once asked for
  bool redundant_known_ = false;
  std::vector<Choice> choices_;               // of the expert at hand
  std::vector<char> hosts_;                   // [rank] holds the expert at hand
  std::set<std::tuple<int, int, int>> tabu_;  // (expert, rank, what the slot held) that did not help
};

}  // namespace

Repair FlowRepair(const LayerTask& task, const SlotTable& current, const RepairOptions& options) {
  // Tables of many ranks are dear to make: none is made before it is needed.
  SlotTable shaped, completed;
  if (!HasShape(task, current)) shaped = Shaped(task, current);
  const SlotTable& base = shaped.empty() ? current : shaped;
  std::vector<int> homeless = Homeless(CopiesOf(base, task.experts()));
  if (!homeless.empty()) completed = Complete(task, base, std::move(homeless));
  const SlotTable& start = completed.empty() ? base : completed;
  Repair result;
  const auto finish = [&](const SlotTable& table) {
    // An expert that left and came back is where it was.
    result.table = KeepIndices(base, table);
    result.writes = CountWrites(current, result.table);
    return std::move(result);
  };
  if (task.total_load() == 0) return finish(start);
  const double average =
      static_cast<double>(task.total_load()) /
      static_cast<double>(std::count_if(task.slots.begin(), task.slots.end(), [](int s) { return s > 0; }));
  const int writes_left = std::max(0, options.writes_max - CountWrites(current, start));
  if (task.spare_slots() == 0) {
    ExchangeOptions exchange;
    exchange.writes_max = writes_left;
    exchange.min_gain = 0.005;
    return finish(Exchange(task, start, exchange));
  }
  SlotTable best;               // empty: nothing is better than the start
  std::optional<double> least;  // bound of `best`; it is dear, and often not asked for
  const double slot_bound = SlotBound(task);
  SlotFlow flow(task, start, (1 + kRetries[0] * (options.headroom - 1)) * slot_bound);
  for (const double factor : kRetries) {
    const double headroom = 1 + factor * (options.headroom - 1);
    if (factor > kRetries[0]) flow.Raise(task, headroom * slot_bound);
    const int64_t left_before = flow.unrouted();
    const bool changed =
        Repairer(task, flow).Run(writes_left, static_cast<int64_t>(options.tolerance * average)) > 0;
    const int64_t left = flow.unrouted();
    const double unrouted = static_cast<double>(left) / average;
    if (factor == kRetries[0]) result.unrouted = static_cast<double>(left_before) / average;
    if (changed) {
      // Everything fits under what did not hold everything before.
      bool better = left == 0 && factor == kRetries[0];
      if (!better) {
        if (!least) least = PlacedBound(task, start);
        const double bound = PlacedBound(task, flow.hosts());
        better = bound < *least;
        if (better) least = bound;
      }
      if (better) {
        best = flow.table();
        result.unrouted = unrouted;
      }
    }
    if (unrouted <= options.tolerance) break;
    flow.Undo(0);
  }
  return finish(best.empty() ? start : best);
}

}  // namespace ballast
