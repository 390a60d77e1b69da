// Fence: which plan is active at which step, decided from the tables alone.
//
// Pure. One per rank and generation. All ranks feed it the same tables and so reach the same answer; a rank's own staged
// and committed cells are never consulted (F3). docs/design.md has the argument.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "plan/plan.h"
#include "protocol/header.h"
#include "protocol/planted_bugs.h"

namespace ballast {

// What a table means for the ranks; the same at every rank.
struct FenceDecision {
  bool update = false;  // every row is ok and all split hashes agree: the optimizer may apply this step's gradients
  std::string failure;  // with !update: step, layer and cause; the job ends FAILED
  std::optional<PlanVersion> decided;  // this plan was decided by this table and is active from `switch_step` on
  Step switch_step;
  // The highest request in the table that is newer than any carried out; all ranks carry it out after update(step + 2).
  RequestId request;
  RequestKind request_kind = RequestKind::kNone;
  Step request_step;
  std::string alarm;  // worth a log line though nothing is wrong with this step: digests differ
};

class Fence {
 public:
  // Finds the plan that this rank has promised to run, by version and digest; null if it holds none such.
  using HeldPlan = std::function<PlanPtr(PlanVersion, PlanDigest)>;

  // `active` runs from `start_step` on. `self` is used by planted bugs alone.
  Fence(Rank self, int ranks, PlanPtr active, Step start_step, PlantedBugs bugs = {});

  // Applies table(step): exactly one row per rank, in rank order, all of this generation and of `step`, and `step` follows
  // the one before; anything else is a FailedPrecondition (the communicator mixed steps). CHECK-fails when a plan is
  // decided that `held` does not have.
  absl::StatusOr<FenceDecision> Apply(Step step, std::span<const StepHeader> table, const HeldPlan& held);

  // The plan of `step`, which must be start_step .. last applied step + 2.
  const PlanPtr& PlanFor(Step step) const;
  const PlanPtr& active() const { return active_; }
  // The plan decided but not yet reached, with its switch step.
  const PlanPtr& pending() const { return pending_; }
  Step pending_step() const { return pending_step_; }

 private:
  const Rank self_;
  const int ranks_;
  const PlantedBugs bugs_;
  PlanPtr active_;
  PlanPtr pending_;
  Step pending_step_;
  Step next_step_;  // of the next table
  RequestId request_done_;
};

}  // namespace ballast
