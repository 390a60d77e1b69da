// Generations: who trains a job on which plan from which step, from the placement to the end.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "coordinator/env.h"
#include "coordinator/job_entry.h"
#include "coordinator/roll_forward.h"

namespace ballast {

// Members and their first plan.
struct Placed {
  std::vector<Member> members;
  PlanBody body;
};

// The job on as many ranks of `workers` as it takes, experts and homes in contiguous runs. All are of one
// kind of device: the one that the job began on, else the first by ByKind that suffices. Nothing when no such
// kind has enough ranks to hold it, or ranks.min.
std::optional<Placed> Place(JobEntry& job, const std::vector<const WorkerEntry*>& workers);
// What these members of another generation have in place of contiguous runs: those that were in the last one
// keep their slots and homes under its active plan, whatever process they are; what others held is divided by
// the last loads (CarryOver). An error says why that cannot be.
absl::StatusOr<PlanBody> KeptContent(const JobEntry& job, const std::vector<Member>& members);
// The fewest ranks that Place needs.
int RanksNeeded(JobEntry& job);

// What a new generation loads: the job's newest complete checkpoint, else the one that it was submitted to go
// on from; nothing = initial weights.
std::optional<CheckpointRef> CheckpointToLoad(const JobEntry& job);

// Durable, then sent: the next generation, from CheckpointToLoad, on a plan with a new version, also when the
// content is an old one (F7). With `forward`, `placed` has the members of the generation before, and the plan
// that it names: they go on with what they hold, and carry out what was asked of them there.
void BeginGeneration(Env& env, JobEntry& job, Placed placed,
                     const std::optional<RollForward>& forward = std::nullopt);

// The records of a generation that is over: COMMITTED plans that it did not get to are SUPERSEDED, a PROPOSED
// one is ABORTED. Empty when there was none. To be stored with the job's own record, before Abort is sent.
std::vector<RecordWrite> EndGeneration(JobEntry& job, const std::string& outcome);
// Then: what became of the plan that was on its way; `dropped` = 0 when none was.
void TellDropped(Env& env, JobEntry& job, PlanVersion dropped);

// "w1, w2 and 510 more": what happens to many at once is one event.
std::string FirstOf(const std::set<std::string>& names);

}  // namespace ballast
