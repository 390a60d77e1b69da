// What is kept of a plan beside its content: why it is what it is, and what it really gained.
#pragma once

#include <vector>

#include "coordinator/env.h"
#include "coordinator/rollout.h"

namespace ballast {

// Fills in the imbalances of `next` under the newest measured loads and speeds (zeros when there are none),
// what a step is predicted to take, and an explanation that says what is known of any plan.
void Predict(const JobEntry& job, NewPlan& next);

// Bytes of weights that so many slot writes fill.
int64_t SlotBytes(const JobEntry& job, int64_t slot_writes);

// Keeps the record with the job, drops the oldest beyond kExplanationsMax, and returns it to be written.
RecordWrite KeepExplanation(JobEntry& job, ExplanationRecord record);

// What was measured of the plan up to now.
MeasuredGain MeasureSoFar(const JobEntry& job, PlanVersion version);
// After a step was reported: writes down what the active plan gained once enough steps have run under it.
void MeasureActive(Env& env, JobEntry& job);
// No more steps run under the active plan: the record with what was measured of it, when that is not written
// yet.
std::vector<RecordWrite> CompleteMeasure(JobEntry& job);

}  // namespace ballast
