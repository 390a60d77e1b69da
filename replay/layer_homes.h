// Where the blocks of one layer's experts are owned in a replay, and what reduce and refresh cost for it.
#pragma once

#include <utility>
#include <vector>

#include "coordinator/planner/layer/home_traffic.h"
#include "coordinator/planner/layer/layer_task.h"

namespace ballast {

// The homes of a layer over time; what they cost is told by home_traffic.h, as for the live planner. Homes
// follow slots lazily: when what the busiest link carried for an expert, beyond what homes on its slots would
// need, adds up to what moving its state costs (rent or buy), so a move never costs more than the traffic it
// follows.
class LayerHomes {
 public:
  // Each expert is at home on the ranks of its slots in `start`. Costs are in seconds.
  LayerHomes(const SlotTable& start, int experts, std::vector<int> node_of_rank, HomeCosts costs);

  // Seconds of the busiest link for one step under `table`: gradients in, then weights out.
  double SyncSeconds(const SlotTable& table) const;

  // After `steps` steps under `table`: moves the homes whose time has come; seconds of the busiest link for
  // their state.
  double Follow(const SlotTable& table, double steps);

  // [rank] of its NIC, from now on; empty: all are healthy.
  void SetSlowdowns(std::vector<double> slowdowns) { costs_.slowdowns = std::move(slowdowns); }

  const std::vector<ExpertHomes>& homes() const { return homes_; }  // [expert]

 private:
  std::vector<int> node_of_rank_;
  HomeCosts costs_;
  std::vector<ExpertHomes> homes_;
  std::vector<double> rent_;  // [expert] seconds beyond homes on its slots, since the last move
};

}  // namespace ballast
