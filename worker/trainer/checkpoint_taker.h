// CheckpointTaker: one rank's checkpoints, from the decision in the step to the background thread.
//
// Around a step t the rank's thread does this: Choose after the table, CopyStates between update(t) and
// refresh(t), CopyModel after refresh(t), Begin when the copies are in host memory. Nothing of it changes a
// bit of the training.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "plan/job_config.h"
#include "plan/layout.h"
#include "plan/plan.h"
#include "protocol/header.h"
#include "worker/backend/backend.h"
#include "worker/checkpoint/checkpoint_layout.h"
#include "worker/checkpoint/schedule.h"
#include "worker/checkpoint/writer.h"
#include "worker/optimizer/optimizer.h"
#include "worker/step_coordination.h"

namespace ballast {

// Used by the rank's thread alone. What comes of each checkpoint is told to `coordination`.
class CheckpointTaker {
 public:
  // `job` has a checkpoint.path; the references must outlive it.
  CheckpointTaker(std::shared_ptr<const JobConfig> job, Rank self, CheckpointWriter::Options writer,
                  const ParameterLayout& layout, const Backend& backend, Optimizer& optimizer,
                  StepCoordination& coordination);

  bool busy() const { return writer_.busy(); }
  void Request(RequestId request, Step step) { schedule_.Request(request, step); }

  // Once a step, with its table: whether a checkpoint is taken after it, the same on every rank. Before the
  // ranks' last one it waits for the one before. `tell`: this rank says that one is skipped.
  bool Choose(Step step, std::span<const StepHeader> table, bool last, bool tell);
  // `plan` of the step, `next` of the one after.
  void CopyStates(Step step, const Plan& plan, const Plan& next);
  void CopyModel();
  void Begin() { writer_.Begin(); }
  void WaitIdle() { writer_.WaitIdle(); }

  // Host memory that the buffer of `self` takes, once for all its checkpoints.
  static size_t BufferBytes(const ParameterLayout& layout, const PlanBody& plan, const PlanBody& next,
                            Rank self, size_t element_bytes, size_t master_bytes);

 private:
  void OnDone(Step step, absl::StatusOr<WrittenCheckpoint> written);
  void AddTexts(Step step, const Plan& next, const std::vector<CheckpointPart>& parts);

  const std::shared_ptr<const JobConfig> job_;
  const Rank self_;
  const ParameterLayout& layout_;
  const Backend& backend_;
  Optimizer& optimizer_;
  StepCoordination& coordination_;
  CheckpointSchedule schedule_;
  RequestId request_;            // of the checkpoint in hand
  std::vector<int> parameters_;  // that CopyModel copies
  CheckpointWriter writer_;      // last: its thread uses the rest
};

}  // namespace ballast
