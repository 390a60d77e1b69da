// Answers by other means than the planner's: subsets, permutations, plain loops. For small cases.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/rng.h"
#include "coordinator/planner/layer/layer_task.h"

namespace ballast::testing {

// Least load per unit of speed of the busiest rank for fixed slots, by Hall's condition: the experts of any
// subset can only go to their hosts. Loads may be split without end here, so whole tokens lie up to one token
// per rank above.
inline double BoundBySubsets(const LayerTask& task, const SlotTable& table) {
  double most = 0;
  for (int subset = 1; subset < 1 << task.experts(); ++subset) {
    double load = 0, speed = 0;
    for (int e = 0; e < task.experts(); ++e) load += subset >> e & 1 ? static_cast<double>(task.load[e]) : 0;
    for (int g = 0; g < task.ranks(); ++g) {
      bool hosts = false;
      for (int e : table[g]) hosts = hosts || (e != kNoExpert && (subset >> e & 1));
      speed += hosts ? task.speeds[g] : 0;
    }
    if (load > 0) most = std::max(most, load / speed);
  }
  return most;
}

// Load that finds no room when rank g takes at most capacity[g]: by the same condition.
inline int64_t UnroutedBySubsets(const LayerTask& task, const SlotTable& table,
                                 const std::vector<int64_t>& capacity) {
  int64_t most = 0;
  for (int subset = 1; subset < 1 << task.experts(); ++subset) {
    int64_t left = 0;
    for (int e = 0; e < task.experts(); ++e) left += subset >> e & 1 ? task.load[e] : 0;
    for (int g = 0; g < task.ranks(); ++g) {
      bool hosts = false;
      for (int e : table[g]) hosts = hosts || (e != kNoExpert && (subset >> e & 1));
      left -= hosts ? capacity[g] : 0;
    }
    most = std::max(most, left);
  }
  return most;
}

// A task with loads of many shapes (skewed, equal, idle, one dominant), unequal slots and speeds; always has
// room for all experts.
inline LayerTask RandomTask(Rng& rng, int experts_max, int ranks_max, int spare_max) {
  const int experts = static_cast<int>(rng.Between(1, experts_max));
  const int ranks = static_cast<int>(rng.Between(1, ranks_max));
  LayerTask task;
  const uint64_t shape = rng.Below(5);
  for (int e = 0; e < experts; ++e) {
    int64_t load = rng.Between(0, 100'000);
    if (shape == 1) load = 50'000;
    if (shape == 2) load = static_cast<int64_t>(20'000 * std::exp(1.2 * rng.Normal()));
    if (shape == 3) load = e == 0 ? 1'000'000 : rng.Between(0, 30'000);
    if (shape == 4 && rng.Chance(0.6)) load = 0;
    task.load.push_back(load);
  }
  const bool even = rng.Chance(0.5), fast = rng.Chance(0.5);
  const int per_node = static_cast<int>(rng.Between(1, ranks));
  const int slots = (experts + ranks - 1) / ranks + static_cast<int>(rng.Between(0, spare_max));
  int places = 0;
  for (int g = 0; g < ranks; ++g) {
    task.slots.push_back(even ? slots : static_cast<int>(rng.Between(0, 2 * slots)));
    task.speeds.push_back(fast ? 65536u : static_cast<uint32_t>(rng.Between(20'000, 80'000)));
    task.node_of_rank.push_back(g / per_node);
    places += std::min(task.slots.back(), experts);
  }
  for (int g = 0; places < experts; g = (g + 1) % ranks) {
    if (task.slots[g] >= experts) continue;
    ++task.slots[g];
    ++places;
  }
  return task;
}

// A valid table: every expert once in a random place, then copies with probability one half.
inline SlotTable RandomTable(Rng& rng, const LayerTask& task) {
  SlotTable table = EmptyTable(task);
  // Ranks with fewest slots must not be left with duplicates only: fill experts into free places in turn.
  int e = 0;
  std::vector<int> order;
  for (int g = 0; g < task.ranks(); ++g) {
    for (int i = 0; i < std::min(task.slots[g], task.experts()); ++i) order.push_back(g);
  }
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.Below(i)]);
  for (int g : order) {
    int held = kNoExpert;
    if (e < task.experts()) {
      held = e++;
    } else if (rng.Chance(0.5)) {
      held = static_cast<int>(rng.Below(static_cast<uint64_t>(task.experts())));
      if (Holds(table[g], held)) held = kNoExpert;
    }
    *std::find(table[g].begin(), table[g].end(), kNoExpert) = held;
  }
  return table;
}

// Loads exp(sigma * normal), in whole tokens.
inline std::vector<int64_t> LognormalLoad(Rng& rng, int experts, double sigma) {
  std::vector<int64_t> load;
  for (int e = 0; e < experts; ++e)
    load.push_back(static_cast<int64_t>(1e6 * std::exp(sigma * rng.Normal())));
  return load;
}

}  // namespace ballast::testing
