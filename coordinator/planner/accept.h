// The accept rule: does a proposal pay? It says why, both ways.
//
// Loads of real training fluctuate, early on a lot. So a proposal must gain on the very steps that were
// measured and not on the forecast alone; the gain must stand out of its own noise; and what the current plan
// has cost since the load changed must already exceed what the proposal's slot writes cost (rent or buy: on a
// load that alternates, moving never costs more than the loss it follows, and alternations whose gap is below
// the cost move nothing).
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "base/registry.h"
#include "coordinator/planner/planner.h"

namespace ballast {

struct Verdict {
  bool accepted = false;
  std::string
      why;  // "imbalance 1.83 -> 1.06 predicted, 5 slot writes", "rejected: predicted gain 0.012 < 0.05"
};

// Hold-down, before any work is done: false, with the reason, when too few steps were observed
// (warmup_steps), or `current` is active for fewer than plan_every_steps. A generation's first plan holds
// nothing down, nor does any when ranks have other speeds than it counts on.
Verdict MayPlan(const PlanInput& input);

// gain = 1 - (after + extra sync) / before, where before and after are the mean imbalances over the samples
// since the last look (plan_every_steps of them), and extra sync is what gradients and weights between slots
// and homes take more than now, in balanced steps of a layer (0 where links are not measured). Accepted when
//   gain - its standard error >= min_gain, and
//   the largest sum over a newest part of the history of (before - after - extra sync) * layers > what the
//   change costs once: the moves of homes that will follow, or slot writes * slot_write_cost where links are
//   not measured.
Verdict Accept(const PlanInput& input, const PlanBody& proposed);

// The same slots with tokens split for the speeds that are measured, when those are others than the plan's
// and that is faster: nothing moves, so that it needs to pay for nothing.
std::optional<PlanBody> Resplit(const PlanInput& input);

struct PlanDecision {
  std::optional<PlanBody> body;  // with its reason; nothing when nothing should change
  bool homes = false;            // the body moves homes alone
  std::string why;               // the reason, also of a rejection
  Explanation explanation;       // what was weighed; its verdict says why slots stay
};

// One look: hold-down, the strategy named by the config, the accept rule; when nothing else changes, homes
// may follow their slots (HomesThatFollow). Call every plan_every_steps (or more often: the hold-down counts
// steps). A strategy that needs tokens is also held to AcceptPairs, and what balance alone would not pay for
// is run when that accepts it. NotFound when the strategy is not registered.
absl::StatusOr<PlanDecision> Decide(const Registry<PlannerPtr>& planners, const PlanInput& input);

}  // namespace ballast
