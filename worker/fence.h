// Fence: which plan is active at which step, decided from the tables alone.
//
// Pure. One per rank and generation. All ranks feed it the same tables and so reach the same answer; a rank's
// own staged and committed cells are never consulted (F3). docs/design.md has the argument.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "plan/plan.h"
#include "protocol/header.h"
#include "protocol/planted_bugs.h"

namespace ballast {

// What a table means for the ranks; the same at every rank.
struct FenceDecision {
  bool update =
      false;  // every row is ok and all split hashes agree: the optimizer may apply this step's gradients
  std::string failure;  // with !update: step, layer and cause; the job ends FAILED
  std::optional<PlanVersion>
      decided;  // this plan was decided by this table and is active from `switch_step` on
  Step switch_step;
  // The highest request in the table that is newer than any carried out; all ranks carry it out after
  // update(step + 2).
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

  // Applies table(step): exactly one row per rank, in rank order, all of this generation and of `step`, and
  // `step` follows the one before; anything else is a FailedPrecondition (the communicator mixed steps).
  // CHECK-fails when a plan is decided that `held` does not have.
  absl::StatusOr<FenceDecision> Apply(Step step, std::span<const StepHeader> table, const HeldPlan& held);

  // The plan of `step`, which must be from max(start_step, last applied step - 2) to last applied step + 2.
  const PlanPtr& PlanFor(Step step) const;
  // The plan of the last applied step (of the start step before any).
  const PlanPtr& active() const { return PlanFor(last_step_ < start_step_ ? start_step_ : last_step_); }
  // The plan decided last, when its switch step is still ahead of the last applied step; else null.
  PlanPtr pending() const {
    return runs_.back().from > last_step_ && runs_.size() > 1 ? runs_.back().plan : nullptr;
  }
  // Of pending().
  Step pending_step() const { return runs_.back().from; }

 private:
  // `plan` is active from `from` on, until the next one is.
  struct Run {
    Step from;
    PlanPtr plan;
  };

  std::optional<PlanVersion> Decide(Step step, std::span<const StepHeader> table, const HeldPlan& held);

  const Rank self_;
  const int ranks_;
  const Step start_step_;
  const PlantedBugs bugs_;
  std::vector<Run> runs_;  // rising in step and version; the last is active or pending
  Step last_step_;         // of the last applied table; start_step - 1 before any
  RequestId request_done_;
};

}  // namespace ballast
