// What a rank thread asks of its daemon once a step: the cells for its header, and where results go.
//
// The daemon implements it over its session; tests implement it as a script of plans.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"
#include "plan/plan.h"
#include "protocol/header.h"
#include "protocol/messages.h"

namespace ballast {

// The promise and the newest Commit of this daemon at one moment.
struct HeaderCells {
  PlanPtr staged;  // null = none
  PlanDigest staged_digest;
  PlanVersion committed;
  RequestId request;
  RequestKind request_kind = RequestKind::kNone;
  bool attached = false;  // the daemon's stream to the coordinator is open
};

// One rank's part of a checkpoint, on disk and fsynced.
struct WrittenCheckpoint {
  Step step;          // taken after it
  PlanVersion plan;   // of step + 1
  RequestId request;  // that asked for it; 0 = it was due
  std::vector<CheckpointFile> files;
};

// Called by rank threads; every method must be safe from several threads at once and must not block on the
// network.
class StepCoordination {
 public:
  virtual ~StepCoordination() = default;

  // Taken when the header is enqueued.
  virtual HeaderCells Cells() = 0;

  // The fence of `rank` decided `version` for `switch_step`; the promise cannot be withdrawn any more.
  virtual void OnDecided(Rank rank, PlanVersion version, Step switch_step) = 0;
  // `rank` starts `switch_step` with `version`.
  virtual void OnActive(Rank rank, PlanVersion version, Step switch_step) = 0;
  // `rank` has the table of `step`, which ran under `plan`, and is about to apply its update. False: this
  // daemon has left the generation, and has told how far its ranks are; the update must not be made.
  [[nodiscard]] virtual bool OnApplying(Rank rank, Step step, PlanVersion plan) = 0;
  // `rank` has applied the update of `step`, and its slots are filled.
  virtual void OnStepDone(Rank rank, Step step) = 0;
  // What `rank` measured of a step, and the rows that it computed by layer.
  virtual void OnRankStep(Rank rank, const RankStep& step, const std::vector<int64_t>& layer_assignments) = 0;
  // From the reporting rank of the step alone (ReporterOf).
  virtual void OnReport(StepReport report) = 0;
  virtual void OnEvaluation(EvaluationReport report) = 0;
  // From every rank whose turn it was in a step, by the generation's rule.
  virtual void OnTokens(TokenReport report) = 0;

  // From the thread that writes `rank`'s part, while the rank goes on.
  virtual void OnCheckpointWritten(Rank rank, WrittenCheckpoint written) = 0;
  // `skipped`: the one before is still being written, somewhere; told by rank 0 alone.
  virtual void OnCheckpointFailed(Step step, bool skipped, const std::string& cause) = 0;
};

}  // namespace ballast
