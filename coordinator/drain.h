// Changes of membership without a loss: a worker is drained, or more ranks are there than the job has.
//
// All ranks take a checkpoint after one agreed step and end there; the next generation goes on with the step
// after it from this checkpoint, so no step is lost and none trained twice. When the generation ends before
// that and nobody died, its members go on with what they hold and carry out the change then (roll_forward.h).
// When a member is lost meanwhile, it is a recovery like any other: from the newest complete checkpoint, steps
// behind it are trained again.
#pragma once

#include <string>

#include "coordinator/env.h"
#include "coordinator/jobs.h"

namespace ballast {

// Reply in every case. Nothing changes on an error. A drained worker is cordoned, too: it gets no work until
// it is uncordoned.
void OnDrain(Env& env, JobTable& jobs, const DrainWorker& drain);
void OnCordon(Env& env, const CordonWorker& cordon);
// The worker wants to end: ContinueChange sees to it.
void OnLeaving(Env& env, WorkerEntry& worker, const Leaving& message);

// After every event, for a RUNNING job: the next generation when all ranks have ended at the agreed step and
// its checkpoint is complete; a change when a member wants to leave or there are more ranks.
void ContinueChange(Env& env, JobTable& jobs, JobEntry& job);

}  // namespace ballast
