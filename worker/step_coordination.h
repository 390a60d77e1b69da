// What a rank thread asks of its daemon once a step: the cells for its header, and where results go.
//
// The daemon implements it over its session; tests implement it as a script of plans.
#pragma once

#include "base/ids.h"
#include "plan/plan.h"
#include "protocol/header.h"
#include "protocol/messages.h"

namespace ballast {

// The promise and the newest Commit of this daemon at one moment.
struct HeaderCells {
  PlanPtr staged;           // null = none
  PlanDigest staged_digest;
  PlanVersion committed;
  RequestId request;
  RequestKind request_kind = RequestKind::kNone;
};

// Called by rank threads; every method must be safe from several threads at once and must not block on the network.
class StepCoordination {
 public:
  virtual ~StepCoordination() = default;

  // Taken when the header is enqueued.
  virtual HeaderCells Cells() = 0;

  // The fence of `rank` decided `version` for `switch_step`; the promise cannot be withdrawn any more.
  virtual void OnDecided(Rank rank, PlanVersion version, Step switch_step) = 0;
  // `rank` starts `switch_step` with `version`.
  virtual void OnActive(Rank rank, PlanVersion version, Step switch_step) = 0;
  // `rank` has applied the update of `step`.
  virtual void OnStepDone(Rank rank, Step step) = 0;
  // From the reporting rank (rank 0) alone.
  virtual void OnReport(StepReport report) = 0;
  virtual void OnEvaluation(EvaluationReport report) = 0;
};

}  // namespace ballast
