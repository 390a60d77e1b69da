// Random values of the protocol's types, for round trips; a function of the generator's seed alone.
#pragma once

#include "base/rng.h"
#include "coordinator/records.h"
#include "plan/job_config.h"
#include "protocol/messages.h"

namespace ballast {

std::string RandomText(Rng& rng, size_t bytes_max);
JobConfig RandomJob(Rng& rng);  // valid
Plan RandomPlan(Rng& rng);      // of any shape: not valid for any job
Member RandomMember(Rng& rng, int rank);
WorkerMessage RandomWorkerMessage(Rng& rng, size_t kind);
CoordinatorMessage RandomCoordinatorMessage(Rng& rng, size_t kind);
JobRecord RandomJobRecord(Rng& rng);
PlanRecord RandomPlanRecord(Rng& rng);
GenerationRecord RandomGenerationRecord(Rng& rng);
CheckpointRecord RandomCheckpointRecord(Rng& rng);
JobEvent RandomJobEvent(Rng& rng);
ExplanationRecord RandomExplanationRecord(Rng& rng);

}  // namespace ballast
