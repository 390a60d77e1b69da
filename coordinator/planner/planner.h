// Planner: from what was measured to where experts should compute. Strategies implement it; register.h lists
// them.
//
// Everything here is a pure function of its input: the coordinator, the simulator and replay run the same
// code.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "coordinator/planner/explanation.h"
#include "coordinator/planner/layer/layer_strategy.h"
#include "coordinator/planner/predictor.h"
#include "coordinator/planner/token_sample.h"
#include "plan/job_config.h"
#include "plan/layout.h"
#include "plan/plan.h"
#include "plan/topology.h"
#include "plan/validate.h"

namespace ballast {

// What a planner may look at. It holds references: they must outlive the call.
struct PlanInput {
  const ParameterLayout& layout;
  const PlanLimits& limits;  // slot and home capacity of every rank
  const Topology& topology;
  const PlannerConfig& config;
  const LoadHistory& history;
  const PlanBody& current;       // the ACTIVE plan; valid
  std::vector<uint32_t> speeds;  // [rank] measured, parts per 2^16 of a healthy rank
  Step now;                      // the newest step that was reported
  Step active_since;             // the step at which `current` became active; 0 = it is a generation's first
  // False: predictions are not to be believed, so that experts move only where ranks have become slower or
  // faster.
  bool optional_moves = true;
  // A row over the busiest port between nodes, forward and backward, in units of computing one; 0 = not
  // known, and not counted.
  double port_cost = 0;
  std::vector<double> port_slowdowns = {};  // [rank]; empty: none was found slow
  // A byte into or out of a rank, between nodes and inside one, in units of computing a row; 0 = not known:
  // copies and writes have flat prices.
  double nic_byte_cost = 0;
  double node_byte_cost = 0;
  int element_bytes = 4;                     // of gradients and weights on their way
  int64_t evaluations_max = kPlacementsMax;  // of placements of one search
  const TokenSample* tokens = nullptr;       // null: none was taken
  // Asked between layers: true = nobody waits for the answer any more. Null: somebody does.
  const std::function<bool()>* given_up = nullptr;
};

// How many searches a look makes at most: layers times numbers of slots that `auto` tries.
inline int64_t Searches(const PlanInput& input) {
  return static_cast<int64_t>(input.current.layers.size()) * input.limits.slots_per_rank;
}

// Above so many searches times experts times ranks a look of a strategy that is slow_when_large takes longer
// than the coordinator may stand still.
inline constexpr int64_t kLargeLook = 32'768;
inline bool IsLargeLook(const PlanInput& input) {
  return Searches(input) * input.history.experts() * input.limits.ranks > kLargeLook;
}

// What a strategy would run next, and what it weighed.
struct Proposal {
  // Passes ValidatePlan and ValidateTransition from the current plan; `reason` is filled in by Decide.
  // Nothing when the strategy would change nothing.
  std::optional<PlanBody> body;
  Explanation explanation;  // strategy and verdict are filled in by Decide
  // Mean over layers of the imbalance under the forecast, now and with `body`.
  double imbalance_before = 1;
  double imbalance_after = 1;
};

class Planner {
 public:
  virtual ~Planner() = default;
  virtual StrategyTraits traits() const { return {}; }
  // What Propose lacks, for people; empty: nothing. Meanwhile it proposes nothing.
  virtual std::string WaitsFor(const PlanInput&) const { return ""; }
  // Slots, splits and speeds for a better balance. Homes stay.
  virtual Proposal Propose(const PlanInput& input) const = 0;
  // Home moves alone, asked for when no other change is made, so that homes follow slots that have settled:
  // HomesThatFollow, or nothing.
  virtual std::optional<PlanBody> ProposeHomes(const PlanInput& input) const = 0;
};
using PlannerPtr = std::shared_ptr<const Planner>;

}  // namespace ballast
