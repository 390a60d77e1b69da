// J: what a placement of one layer costs per period (a step, or a row of a recorded trace), in one currency.
//
// Balance alone is not the objective: each copy of an expert is reduced and refreshed in every step, so that
// more slots would make training slower if a planner filled them for the last percent of balance.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "coordinator/planner/explanation.h"
#include "coordinator/planner/layer/home_traffic.h"
#include "coordinator/planner/layer/layer_task.h"

namespace ballast {

// Costs in any one unit, as seconds. What copies and writes cost is told by `homes`, or flat where those are
// not known.
struct LayerCosts {
  double load = 0;  // per period, of one unit of the task's load on a healthy rank
  // Flat, on a healthy port (`ports.slowdowns` says which are not).
  double sync = 0;   // per period, of one slot of a much replicated expert: r copies cost it (r - 1) / r
  double write = 0;  // once, of one slot write into or out of a rank
  PortCosts ports = {.port = 0};  // per period, of one unit of load over the busiest port; 0: not counted
  const HomePricing* homes = nullptr;  // must outlive this; null: the flat prices
  double life = 20;  // periods over which a placement is weighed against what its change costs once
};

// Costs in units of the layer's perfectly balanced period, for a task of `total_load`.
LayerCosts RelativeCosts(const LayerTask& task, double sync, double write);

// The largest sum over a rank's slots of (r - 1) / r, times the slowdown of the rank's port. `slowdowns`
// [rank]; empty: all are healthy.
double SyncSlots(const SlotTable& table, int experts, const std::vector<double>& slowdowns = {});

// J of a placement, by what it pays for.
struct CostParts {
  double load = 0;  // of the busiest rank under the best split
  double sync = 0;  // of the busiest rank's copies; with homes: of its busiest link, once homes have followed
  double port = 0;  // of the busiest port's load
  double moves = 0;  // what the change to it costs once, over its life
  double total() const { return load + sync + port + moves; }
};

// The part of sync alone.
double SyncOf(const LayerTask& task, const SlotTable& table, const LayerCosts& costs);

// Without moves.
CostParts PartsOf(const LayerTask& task, const SlotTable& table, const LayerCosts& costs);
double Objective(const LayerTask& task, const SlotTable& table, const LayerCosts& costs);

// The most slots that one rank receives (sending is spread over copies), times its port's slowdown.
double BusiestWrites(const SlotTable& from, const SlotTable& to, const std::vector<double>& slowdowns = {});

// What changing to `to` costs once: the state of homes that will follow its slots; flat, its writes.
double SwitchCost(const LayerTask& task, const SlotTable& from, const SlotTable& to, const LayerCosts& costs);

// `table` as people see it weighed.
LayerCandidate Weighed(const LayerTask& task, const SlotTable& current, const std::string& name,
                       const SlotTable& table, const CostParts& cost);

// The mean of PartsOf over the forecast and measured loads of the same layer, each scaled to the forecast's
// total (a placement that fits the forecast alone is brittle), and the change from `current`. `measured` may
// be empty; loads without tokens are left out.
CostParts WeighParts(const LayerTask& task, const std::vector<std::vector<int64_t>>& measured,
                     size_t measured_max, const SlotTable& current, const SlotTable& table,
                     const LayerCosts& costs);

// `table` less the copies whose loss lowers `cost` (of a table), taken from the rank that pays most for sync
// first, until none does or `evaluations` are spent.
SlotTable DropCostly(const LayerTask& task, SlotTable table, const LayerCosts& costs,
                     const std::function<double(const SlotTable&)>& cost, int64_t& evaluations);

}  // namespace ballast
