// Evaluation: mean held-out loss of every source.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "plan/job_config.h"
#include "worker/model/gpt_moe.h"
#include "worker/trainer/parts.h"

namespace ballast {

struct EvaluationInputs {
  const TrainerParts& parts;
  const JobConfig& job;
  Generation generation;
  Step step;  // the evaluation is of the weights after this one
  Rank reporter;
  Stream& stream;
  // Plan, parameters and a fresh deadline for the next exchanges.
  std::function<ModelStep()> model_step;
};

// All ranks together: each runs the forward over its part of every source's held-out sequences; 1 all-gather
// beside the MoE layers'. `reporter` reports the losses. What is wrong with them, the same text on all ranks
// (a loss is not finite); empty = nothing. Errors are the communicator's or this rank's own.
absl::StatusOr<std::string> Evaluate(const EvaluationInputs& inputs);

}  // namespace ballast
