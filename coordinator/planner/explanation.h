// Explanation: what a planner looked at and why it chose what it chose, as a value. Kept beside the plan.
//
// Imbalances are max/mean of rank loads under the forecast; J is in balanced steps of the layer (1 = perfect
// balance and nothing else to pay).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"

namespace ballast {

// A placement of one layer that was weighed.
struct LayerCandidate {
  std::string name;      // "as it is", "flow_repair to 1.05 of the bound"
  double imbalance = 1;  // with the best split
  double cost = 0;       // J: the sum of the four below
  int64_t slot_writes = 0;
  bool chosen = false;
  double load_cost = 0;   // the busiest rank's load, mean of the forecast and the newest measured loads
  double sync_cost = 0;   // gradients and weights of the busiest link
  double port_cost = 0;   // tokens over the busiest port between nodes
  double moves_cost = 0;  // what the change costs once, over the plan's life
  friend bool operator==(const LayerCandidate&, const LayerCandidate&) = default;
};

struct LayerExplanation {
  std::vector<int64_t> load;  // [expert] forecast tokens, in any one unit; empty: the planner looked at none
  double bound = 1;           // no placement in these slots has a lower imbalance
  double imbalance_before = 1;
  double imbalance_after = 1;
  std::vector<LayerCandidate> candidates;  // see TrimCandidates; empty: the strategy weighs none
  std::string why;                         // of this layer alone
  friend bool operator==(const LayerExplanation&, const LayerExplanation&) = default;
};
// The candidate that changes nothing.
inline constexpr char kAsItIs[] = "as it is";
// Kept of one layer.
inline constexpr size_t kCandidatesMax = 8;

struct Explanation {
  std::string strategy;  // or who else made the plan
  Step step;             // the newest step that was reported at the time
  Step first_sample;     // of the measured loads behind the forecast; 0 = none
  Step last_sample;
  bool accepted = false;
  std::string verdict;                   // why the whole is run, or is not
  std::string prices;                    // what copies and changes were held to cost
  std::vector<LayerExplanation> layers;  // [MoE layer]; empty: nothing was measured or weighed
  // Placements of all layers: looked at, as far as the strategy counts them, and the budget. 0: none was set.
  int64_t evaluations = 0;
  int64_t evaluations_max = 0;
  friend bool operator==(const Explanation&, const Explanation&) = default;
};

// Mean over layers of what no placement can go below; 1 when nothing is known.
double MeanBound(const Explanation& explanation);

// Orders and keeps at most kCandidatesMax: the chosen one, what is there now, then the cheapest.
void TrimCandidates(std::vector<LayerCandidate>& candidates);

}  // namespace ballast
