#include "coordinator/planner/layer/flow_repair.h"

#include <algorithm>
#include <numeric>
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

// Rows cut or lengthened to the shape of the task.
SlotTable Shaped(const LayerTask& task, SlotTable table) {
  for (int g = 0; g < task.ranks(); ++g) table[g].resize(static_cast<size_t>(task.slots[g]), kNoExpert);
  return table;
}

// `table` with every expert held somewhere.
SlotTable Complete(const LayerTask& task, SlotTable table) {
  std::vector<int> copies = CopiesOf(table, task.experts());
  std::vector<int64_t> load(table.size(), 0);
  for (size_t g = 0; g < table.size(); ++g) {
    for (int e : table[g]) load[g] += e == kNoExpert ? 0 : task.load[e] / copies[e];
  }
  std::vector<int> homeless;
  for (int e = 0; e < task.experts(); ++e) {
    if (copies[e] == 0) homeless.push_back(e);
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
  Repairer(const LayerTask& task, SlotTable table, double bound)
      : task_(task), flow_(task, std::move(table), bound), trial_(flow_), best_(flow_) {}

  // At most writes_max writes, until at most `enough` is unrouted. Returns the number of writes.
  int Run(int writes_max, int64_t enough) {
    int writes = 0;
    while (writes < writes_max && flow_.unrouted() > enough) {
      const int used = WriteOne(writes_max - writes);
      if (used == 0) break;
      writes += used;
    }
    return writes;
  }

  const SlotFlow& flow() const { return flow_; }

 private:
  // One improving change for the expert with most unrouted load that has one. Returns its writes, 0 = none.
  int WriteOne(int writes_max) {
    std::vector<int> experts;
    for (int e = 0; e < task_.experts(); ++e) {
      if (flow_.left(e) > 0) experts.push_back(e);
    }
    std::stable_sort(experts.begin(), experts.end(),
                     [&](int a, int b) { return flow_.left(a) > flow_.left(b); });
    for (int e : experts) {
      if (TryOneWrite(e)) return 1;
      if (writes_max >= 2 && TryTwoWrites(e)) return 2;
    }
    return 0;
  }

  // Load that a slot gives up when it is overwritten; its expert has other copies. -1: it must stay.
  int64_t Freed(int g, size_t i) const {
    const int held = flow_.table()[g][i];
    if (held == kNoExpert) return 0;
    return flow_.copies(held) > 1 ? flow_.flow(g, static_cast<int>(i)) : -1;
  }

  bool TryOneWrite(int e) {
    struct Choice {
      int64_t gain = 0;
      int rank = 0;
      int index = 0;
    };
    std::vector<Choice> choices;
    for (int g = 0; g < task_.ranks(); ++g) {
      if (Holds(flow_.table()[g], e)) continue;
      Choice best;
      for (size_t i = 0; i < flow_.table()[g].size(); ++i) {
        const int64_t freed = Freed(g, i);
        if (freed < 0 || tabu_.count({e, g, flow_.table()[g][i]})) continue;
        const int64_t gain = std::min(flow_.spare(g) + freed, flow_.left(e)) - freed;
        if (gain > best.gain) best = {gain, g, static_cast<int>(i)};
      }
      if (best.gain > 0) choices.push_back(best);
    }
    std::stable_sort(choices.begin(), choices.end(),
                     [](const Choice& a, const Choice& b) { return a.gain > b.gain; });
    // The gain above ignores what can be routed around; the first few are compared by a real flow.
    int compared = 0;
    for (const Choice& choice : choices) {
      if (compared == kCompared) break;
      trial_ = flow_;
      const int held = flow_.table()[choice.rank][choice.index];
      trial_.Write(choice.rank, choice.index, e);
      if (trial_.unrouted() >= flow_.unrouted()) {
        tabu_.insert({e, choice.rank, held});
        continue;
      }
      if (++compared == 1 || trial_.unrouted() < best_.unrouted()) std::swap(best_, trial_);
    }
    if (compared == 0) return false;
    std::swap(flow_, best_);
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
    for (int g = 0; g < task_.ranks(); ++g) {
      if (Holds(flow_.table()[g], e)) continue;
      Eviction coldest{0, -1, g, 0};
      for (size_t i = 0; i < flow_.table()[g].size(); ++i) {
        const int held = flow_.table()[g][i];
        if (held == kNoExpert || flow_.copies(held) != 1) continue;
        const int64_t load = flow_.flow(g, static_cast<int>(i));
        if (coldest.load >= 0 && load >= coldest.load) continue;
        coldest = {flow_.spare(g) + load, load, g, static_cast<int>(i)};
      }
      if (coldest.load >= 0) evictions.push_back(coldest);
    }
    std::stable_sort(evictions.begin(), evictions.end(),
                     [](const Eviction& a, const Eviction& b) { return a.room - a.load > b.room - b.load; });
    if (evictions.size() > kEvictionRanks) evictions.resize(kEvictionRanks);

    struct Move {
      int64_t gain = 0;
      Eviction eviction;
      int to_rank = 0, to_index = 0;
    };
    std::vector<Move> moves;
    for (const Eviction& eviction : evictions) {
      const int64_t here = std::min(eviction.room, flow_.left(e)) - eviction.load;
      Move best;
      for (int h = 0; h < task_.ranks(); ++h) {
        if (h == eviction.rank) continue;
        for (size_t j = 0; j < flow_.table()[h].size(); ++j) {
          const int64_t freed = Freed(h, j);
          if (freed < 0) continue;
          const int64_t gain = here + std::min(flow_.spare(h) + freed, eviction.load) - freed;
          if (gain > best.gain) best = {gain, eviction, h, static_cast<int>(j)};
        }
      }
      if (best.gain > 0) moves.push_back(best);
    }
    bool found = false;
    for (const Move& move : moves) {
      trial_ = flow_;
      const int evicted = flow_.table()[move.eviction.rank][move.eviction.index];
      trial_.Write(move.eviction.rank, move.eviction.index, e);
      trial_.Write(move.to_rank, move.to_index, evicted);
      if (trial_.unrouted() >= (found ? best_ : flow_).unrouted()) continue;
      std::swap(best_, trial_);
      found = true;
    }
    if (!found) return false;
    std::swap(flow_, best_);
    return true;
  }

  const LayerTask& task_;
  SlotFlow flow_;
  SlotFlow trial_, best_;                     // copied into again and again: their memory is used again
  std::set<std::tuple<int, int, int>> tabu_;  // (expert, rank, what the slot held) that did not help
};

}  // namespace

Repair FlowRepair(const LayerTask& task, const SlotTable& current, const RepairOptions& options) {
  Repair result;
  const SlotTable base = Shaped(task, current);
  result.table = Complete(task, base);
  result.writes = CountWrites(current, result.table);
  if (task.total_load() == 0) return result;
  const double average =
      static_cast<double>(task.total_load()) /
      static_cast<double>(std::count_if(task.slots.begin(), task.slots.end(), [](int s) { return s > 0; }));
  if (task.spare_slots() == 0) {
    ExchangeOptions exchange;
    exchange.writes_max = std::max(0, options.writes_max - result.writes);
    exchange.min_gain = 0.005;
    result.table = KeepIndices(base, Exchange(task, result.table, exchange));
    result.writes = CountWrites(current, result.table);
    return result;
  }
  SlotTable best = KeepIndices(base, result.table);
  const int writes_left = std::max(0, options.writes_max - result.writes);
  double least = PlacedBound(task, result.table);
  for (const double factor : kRetries) {
    const double headroom = 1 + factor * (options.headroom - 1);
    Repairer repairer(task, result.table, headroom * SlotBound(task));
    const double unrouted_before = static_cast<double>(repairer.flow().unrouted()) / average;
    const bool changed = repairer.Run(writes_left, static_cast<int64_t>(options.tolerance * average)) > 0;
    const double unrouted = static_cast<double>(repairer.flow().unrouted()) / average;
    if (factor == kRetries[0]) result.unrouted = unrouted_before;
    const double bound = changed ? PlacedBound(task, repairer.flow().table()) : least;
    if (bound < least) {
      least = bound;
      // An expert that left and came back is where it was.
      best = KeepIndices(base, repairer.flow().table());
      result.unrouted = unrouted;
    }
    if (unrouted <= options.tolerance) break;
  }
  result.table = std::move(best);
  result.writes = CountWrites(current, result.table);
  return result;
}

}  // namespace ballast
