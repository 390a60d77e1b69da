// What the homes of one layer's experts cost: gradients and weights between slots and homes in every step,
// and state when homes follow their slots.
//
// An expert's blocks lie in parts on its homes. In a step every slot sends each home its part of the gradient
// and gets that part of the new weights back, over NVLink inside a node and the NIC between nodes. So a
// replicated expert at home on its slots pays a reduce-scatter and an all-gather, 2 W (r - 1) / r a rank; a
// slot away from its blocks pays for one gradient and one set of weights, and a new slot for nothing more.
// The live planner and replay use the same functions.
#pragma once

#include <vector>

#include "coordinator/planner/layer/layer_task.h"

namespace ballast {

// A home and the part of an expert's blocks that it owns.
struct HomeShare {
  int rank = 0;
  double part = 0;
  friend bool operator==(const HomeShare&, const HomeShare&) = default;
};
// Rising ranks, parts above 0 that sum to 1.
using ExpertHomes = std::vector<HomeShare>;

// What bytes cost, in any one unit.
struct HomeCosts {
  double nic = 0;                      // a byte into or out of a rank, from or to another node
  double nvlink = 0;                   // the same inside its node
  double weight_bytes = 0;             // of one expert; its gradient is as large
  double state_bytes = 0;              // its master weights and moments
  int blocks = 0;                      // equal blocks of an expert; 0: it can be parted as one likes
  std::vector<double> slowdowns = {};  // [rank] of its NIC; empty: all are healthy
};

// Equal parts, as far as blocks allow, on every host (rising). Requires a host.
ExpertHomes EvenHomes(const std::vector<Rank>& hosts, int blocks);

// [rank] cost of its busiest link and direction in one step: gradients one way, then weights the other.
// `homes` by expert.
std::vector<double> SyncOfRanks(const SlotTable& table, const std::vector<ExpertHomes>& homes,
                                const std::vector<int>& node_of_rank, const HomeCosts& costs);

// Cost of the busiest link for the state of all experts whose homes change.
double MoveCost(const std::vector<ExpertHomes>& from, const std::vector<ExpertHomes>& to,
                const std::vector<int>& node_of_rank, const HomeCosts& costs);

// Of one expert alone: what a step with these hosts costs its busiest link more than with homes spread evenly
// on the hosts (0: nothing), and what moving there costs once.
struct Rent {
  double a_step = 0;
  double price = 0;
};
Rent RentOf(const std::vector<Rank>& hosts, const ExpertHomes& homes, const std::vector<int>& node_of_rank,
            const HomeCosts& costs);

// Where the layer's homes are, for J.
struct HomePricing {
  std::vector<ExpertHomes> homes;  // [expert]
  HomeCosts costs;                 // in J's unit
};

// The homes under `table` once those have followed whose rent over `periods` reaches the price (rent or buy).
std::vector<ExpertHomes> FollowedHomes(const SlotTable& table, const HomePricing& pricing,
                                       const std::vector<int>& node_of_rank, double periods);

}  // namespace ballast
