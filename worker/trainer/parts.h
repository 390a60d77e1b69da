// What a trainer works with.
#pragma once

#include "base/clock.h"
#include "plan/job_config.h"
#include "plan/layout.h"
#include "worker/backend/backend.h"
#include "worker/comm/communicator.h"
#include "worker/model/gpt_moe.h"
#include "worker/optimizer/optimizer.h"
#include "worker/step_coordination.h"
#include "worker/trainer/batch_source.h"

namespace ballast {

// All of it must outlive the trainer; communicator, backend and model are its thread's alone.
struct TrainerParts {
  const ParameterLayout& layout;
  Backend& backend;
  Communicator& communicator;
  GptMoe& model;
  const BatchSource& batches;
  StepCoordination& coordination;
  const Clock& clock;
  Optimizer::FillState fill_state;  // as from InitialWeights(), or from a checkpoint
};

// Initial weights of the job, in the backend's master type, with zero moments. `job` and `layout` must
// outlive the function.
Optimizer::FillState InitialWeights(const JobConfig& job, const ParameterLayout& layout,
                                    const Backend& backend);

}  // namespace ballast
