// A job as the planner sees it: every step reports a load, a decision is active two steps later.
#pragma once

#include <cmath>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/planner/accept.h"
#include "coordinator/planner/register.h"
#include "plan/diff.h"
#include "tests/plan/fixtures.h"

namespace ballast::testing {

// [layer][expert] tokens of one step.
using Loads = std::vector<std::vector<int64_t>>;

// Tokens drawn one group after the other around `shares` (need not sum to 1), with the spread of independent
// draws.
inline std::vector<int64_t> Draw(Rng& rng, const std::vector<double>& shares, int64_t tokens) {
  double sum = 0;
  for (double share : shares) sum += share;
  std::vector<int64_t> drawn;
  for (double share : shares) {
    const double p = share / sum;
    const double mean = static_cast<double>(tokens) * p;
    drawn.push_back(std::max<int64_t>(0, std::llround(mean + std::sqrt(mean * (1 - p)) * rng.Normal())));
  }
  return drawn;
}

struct PlanMade {
  int64_t step = 0;
  bool homes = false;
  int slot_writes = 0;
  std::string reason;
};

class Loop {
 public:
  explicit Loop(JobConfig config, int ranks_in)
      : job(std::move(config)),
        ranks(ranks_in),
        layout(LayoutOf(job)),
        limits(LimitsFor(job, layout, ranks)),
        topology(Topology::OneNode(ranks)),
        current(*ContiguousPlan(job, layout, ranks)),
        speeds(current.speeds),
        history(job.planner, layout.layers(), layout.experts()) {}

  PlanInput Input() const {
    PlanInput input{layout,  limits, topology,   job.planner,  history,
                    current, speeds, Step(step), active_since, optional_moves};
    input.nic_byte_cost = nic_byte_cost;
    input.node_byte_cost = node_byte_cost;
    return input;
  }

  // One step; looks at the load after it when `look`. Every decision is validated.
  void Run(const Loads& loads, bool look = true) {
    ++step;
    imbalance = PlannedImbalance(loads, current, speeds);
    BALLAST_CHECK_OK(history.Observe({Step(step), loads}));
    if (pending && step >= pending_step) {
      current = *std::move(pending);
      pending.reset();
      active_since = Step(step);
    }
    if (!look || pending) return;
    auto decision = Decide(Planners(), Input());
    BALLAST_CHECK_OK(decision.status());
    why = decision->why;
    if (!decision->body) return;
    BALLAST_CHECK_OK(ValidateTransition(current, *decision->body, layout, limits));
    const PlanDiff diff = Diff(current, *decision->body, layout);
    BALLAST_CHECK(!diff.empty()) << "a plan that changes nothing";
    plans.push_back(
        {step, decision->homes, static_cast<int>(diff.slot_writes.size()), decision->body->reason});
    pending = std::move(decision->body);
    pending_step = step + 2;
  }

  // Plans that change slots.
  int SlotPlans(int64_t from_step = 0) const {
    int count = 0;
    for (const PlanMade& plan : plans) count += plan.step >= from_step && !plan.homes;
    return count;
  }
  std::string Describe() const {
    std::string text;
    for (const PlanMade& plan : plans)
      text += "step " + std::to_string(plan.step) + ": " + plan.reason + "\n";
    return text + "last: " + why;
  }

  JobConfig job;
  const int ranks;
  const ParameterLayout layout;
  PlanLimits limits;
  Topology topology;
  PlanBody current;
  std::vector<uint32_t> speeds;
  bool optional_moves = true;
  double nic_byte_cost = 0, node_byte_cost = 0;
  LoadHistory history;
  int64_t step = 0;
  Step active_since;
  double imbalance = 1;  // of the last step
  std::optional<PlanBody> pending;
  int64_t pending_step = 0;
  std::vector<PlanMade> plans;
  std::string why;
};

}  // namespace ballast::testing
