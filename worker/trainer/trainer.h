// Trainer: the step loop of one rank in one generation.
//
// For every step: which plan, forward and backward of all microbatches, gradients to homes, the table,
// update, weights to the slots of the next plan. What all ranks must do together is decided from the table of
// the step alone, so no rank waits for the coordinator.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "plan/job_config.h"
#include "plan/plan.h"
#include "plan/topology.h"
#include "worker/fence.h"
#include "worker/optimizer/optimizer.h"
#include "worker/trainer/checkpoint_taker.h"
#include "worker/trainer/microbatches.h"
#include "worker/trainer/parts.h"
#include "worker/trainer/retained_rank.h"
#include "worker/trainer/step_times.h"
#include "worker/trainer/step_totals.h"
#include "worker/trainer/token_sampler.h"

namespace ballast {

struct TrainerOptions {
  std::shared_ptr<const JobConfig> job;
  PlanPtr plan;  // active at start_step; its stamp names the generation
  Step start_step{1};
  Topology topology;
  Duration exchange_timeout = Seconds(300);  // of one collective, the waiting for slower ranks included
  TokenSampling sampling = {};               // what the ranks tell of their tokens
  bool poison_vacated = false;  // tests: vacated slots and gradients of experts are filled with NaN
  CheckpointWriter::Options checkpoint_writer = {};
  // What this rank held when the generation before ended, which goes on behind its last step; only read, by
  // Make. Null = states come from TrainerParts::fill_state.
  const RetainedRank* retained = nullptr;
};

struct TrainResult {
  // OK: all steps done, or stopped by request. FailedPrecondition: the step after `last_step` failed on all
  // ranks alike, and the message names step, layer and cause. LostPeerError, Aborted, DeadlineExceeded: the
  // communicator's. Anything else happened on this rank, as its message says.
  absl::Status status;
  Step last_step;  // last completed
  bool stopped = false;
  bool drained = false;  // ended by a drain: the job goes on elsewhere
  // The job may go on from what this rank holds: always, but when a step failed on all ranks alike.
  bool resumable = false;
};

// Everything but construction by the rank's thread; only the communicator's Abort() may come from elsewhere.
class Trainer {
 public:
  // Allocates weights and optimizer state and fills them: 1 collective, 2 with what was retained, so when it
  // returns all ranks are there.
  static absl::StatusOr<std::unique_ptr<Trainer>> Make(const TrainerOptions& options,
                                                       const TrainerParts& parts);

  // Trains to the job's last step, evaluating before the first, every evaluate_every steps and after the
  // last. Once. When it fails on this rank alone it aborts the communicator, so that the others do not wait.
  TrainResult Run();

  // After Run: what another generation of the same members needs to go on, wherever in a step this one was
  // interrupted. Once.
  absl::StatusOr<RetainedRank> Release();

 private:
  Trainer(const TrainerOptions& options, const TrainerParts& parts);
  absl::Status RunSteps(TrainResult& result);
  // The checkpoint after the job's last step, when the generation before ended behind that step without it.
  absl::Status TakeLastCheckpoint();
  // A failure that every rank finds at the same point of the same step.
  absl::Status FailTogether(const std::string& cause);
  // One whole step; true in `stop` when this was the step to stop after.
  absl::Status RunStep(Step step, bool& stop);
  absl::StatusOr<StepTotals> ForwardBackward(Step step, const PlanBody& plan);
  // The reduced gradient of a block that is owned here is not finite.
  StepFailure GradientFailure(BlockId block) const;
  StepHeader MakeHeader(Step step, const StepTotals& totals, const std::vector<double>& squares,
                        const HeaderCells& cells) const;
  absl::StatusOr<FenceDecision> Decide(Step step, const StepTable& table, const HeaderCells& cells);
  absl::Status EvaluateAfter(Step step, const PlanBody& plan);
  void ReportTimes(Step step, const StepTotals& totals);
  void Report(const StepInHand& step, const StepTable& table);
  void ReportTokens(Step step);
  bool EvaluationIsDue(Step step, bool last) const;
  Time Deadline() const { return parts_.clock.Now() + options_.exchange_timeout; }
  // `sequences` of the whole batch.
  ModelStep ModelStepOf(const PlanBody& plan, int64_t sequences) const;

  const TrainerOptions options_;
  const TrainerParts parts_;
  const JobConfig& job_;
  const Rank self_;
  const MicrobatchPlan batch_;
  TokenSampler sampler_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<CheckpointTaker> checkpoints_;  // null = the job has no checkpoint.path
  StepTimes times_;
  Fence fence_;
  PlanVersion running_;  // plan of the last step
  Rank reporter_{0};     // of the last table; before the first every daemon has just been assigned its ranks
  StepInHand step_, step_before_;
  StepTable resumed_;  // of the step before start_step, when it was retained
  bool failed_together_ = false;
  Step stop_step_;      // carry out a stop after this step; 0 = none
  bool drain_ = false;  // that stop is a drain
};

}  // namespace ballast
