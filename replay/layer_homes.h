// Where the blocks of one layer's experts are owned in a replay, and what reduce and refresh cost for it.
#pragma once

#include <vector>

#include "coordinator/planner/layer/layer_task.h"

namespace ballast {

// What moving bytes costs. An expert's gradient is as large as its weights.
struct HomeCosts {
  double nic_gbs = 45;      // of a rank, each way, GB/s: between nodes
  double nvlink_gbs = 300;  // of a rank, each way, GB/s: inside a node
  double weight_mb = 67;    // of one expert
  double state_mb = 403;    // its master weights and moments
};

// Equal parts of an expert's blocks lie on each of its homes. In a step every slot sends each home its part
// of the gradient and gets that part of the new weights back. Homes follow slots lazily: when what
// the busiest rank sent or received for an expert, beyond what homes on its slots would need, adds up to the
// state that would have to move (rent or buy), so a move never costs more than the traffic it follows.
class LayerHomes {
 public:
  // Each expert is at home on the ranks of its slots in `start`.
  LayerHomes(const SlotTable& start, int experts, std::vector<int> node_of_rank);

  // Seconds of the busiest link for one step under `table`: gradients in, then weights out.
  double SyncSeconds(const SlotTable& table, const HomeCosts& costs) const;

  // After `steps` steps under `table`: moves the homes whose time has come; seconds of the busiest link for
  // their state.
  double Follow(const SlotTable& table, double steps, const HomeCosts& costs);

  const std::vector<std::vector<Rank>>& homes() const { return homes_; }  // [expert], rising

 private:
  // Bytes in and out of each rank over one kind of link.
  struct Traffic {
    std::vector<double> in, out;
    double Busiest() const;
  };
  void Add(int from, int to, double bytes, Traffic& nic, Traffic& nvlink) const;
  double Seconds(const Traffic& nic, const Traffic& nvlink, const HomeCosts& costs) const;
  Traffic NoTraffic() const;

  std::vector<int> node_of_rank_;
  std::vector<std::vector<Rank>> homes_;
  std::vector<double>
      rent_;  // [expert] bytes of its busiest rank beyond homes on its slots, since the last move
};

}  // namespace ballast
