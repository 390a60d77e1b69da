// One MoE layer as the placement algorithms see it. Layers are planned independently of each other.
//
// Everything in this folder is a pure function; budgets are counts of evaluations. Results are a function of
// the arguments alone, on every machine.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "base/ids.h"
#include "plan/copies.h"
#include "plan/plan.h"

namespace ballast {

inline constexpr int kNoExpert = -1;

// [rank][index] -> expert, or kNoExpert. A row is as long as the rank has slots. An expert has at most one
// slot on a rank.
using SlotTable = std::vector<std::vector<int>>;

struct LayerTask {
  std::vector<int64_t> load;      // [expert] tokens that are expected; at most kTokensMax in all
  std::vector<int> slots;         // [rank] how many it has; 0 drains the rank
  std::vector<uint32_t> speeds;   // [rank] parts per 2^16 of a healthy rank, above 0
  std::vector<int> node_of_rank;  // [rank] nodes are numbered from 0

  int experts() const { return static_cast<int>(load.size()); }
  int ranks() const { return static_cast<int>(slots.size()); }
  int nodes() const;
  int64_t total_load() const;
  // Slots of all ranks beyond one for each expert.
  int spare_slots() const;
  // Speeds of the ranks that have slots.
  int64_t usable_speed() const;
};

// OK, or InvalidArgument naming the figure: sizes differ, a load or slot count is negative or too large, a
// speed is 0, nodes are not numbered from 0 on, or the slots cannot hold all experts (each rank holds an
// expert once).
absl::Status CheckTask(const LayerTask& task);

// A task of `ranks` equal ranks on nodes of `ranks_per_node`.
LayerTask UniformTask(std::vector<int64_t> load, int ranks, int slots_per_rank, int ranks_per_node);

// OK, or InvalidArgument: shape of `task`, experts in range, each hosted, none twice on a rank.
absl::Status CheckTable(const LayerTask& task, const SlotTable& table);

// What tokens of other nodes cost.
struct PortCosts {
  double port = 1;                     // a token over a port, in units of computing one on a healthy rank
  std::vector<double> slowdowns = {};  // [rank] of ports; empty: all are healthy
  // Whether rows may go on rails (kRails) where that takes less time than straight to their hosts, and how
  // much of a token's time on a port it then takes to hand it on inside the node.
  bool rails = true;
  double inside = 0.25;
};

// All slots empty.
SlotTable EmptyTable(const LayerTask& task);

// Rank g of G holds experts floor(g E / G) .. floor((g + 1) E / G) - 1. Where a rank has fewer slots, what is
// left over goes to the first ranks with room.
SlotTable ContiguousTable(const LayerTask& task);

// [expert] -> ranks that hold it, rising.
std::vector<std::vector<Rank>> HostsOf(const SlotTable& table, int experts);

// [expert] -> number of slots.
std::vector<int> CopiesOf(const SlotTable& table, int experts);

bool Holds(const std::vector<int>& row, int expert);

// (expert, rank) pairs of `to` that `from` has not.
int CountWrites(const SlotTable& from, const SlotTable& to);
// Of one rank.
int CountWrites(const std::vector<int>& from, const std::vector<int>& to);

// `wanted` with its rows reordered so that experts that stay on a rank keep their index there, where its row
// is long enough (a rank may have fewer or more slots than before).
SlotTable KeepIndices(const SlotTable& current, const SlotTable& wanted);
// Of one rank.
std::vector<int> KeepIndices(const std::vector<int>& current, const std::vector<int>& wanted);

// Load per unit of speed of the busiest rank under the best split: B3, the bound of a placement.
double PlacedBound(const LayerTask& task, const SlotTable& table);
double PlacedBound(const LayerTask& task, const Copies& copies);

// Shares of a fixed split: [rank][index] parts per 2^16 of the slot's expert, in proportion to
// weights[expert][i] of its i-th host (rising rank), or even where all weights are 0. Those of an expert sum
// to 2^16; empty slots have 0.
std::vector<std::vector<uint32_t>> FractionsOf(const SlotTable& table,
                                               const std::vector<std::vector<int64_t>>& weights);

// Conversions from and to plan values.
SlotTable TableOf(const LayerPlan& layer);
std::vector<std::vector<Slot>> SlotsOf(const SlotTable& table);

}  // namespace ballast
