// Recovery: from one generation to the next. Freeze first, decide then, assign last.
//
// A member is out of the generation for good when it has answered Abort with Frozen, when another process of
// its name has attached, or when a peer has reported it lost and its stream is closed. Members of which none
// of this comes within CoreOptions::freeze_timeout are left behind, but only if at least one other is out: a
// step takes all members, so from then on they cannot get further either. When not one is out, all may be
// training on unseen: nothing is decided until one speaks, is restarted, or people end the job.
//
// When every member has answered and holds its ranks' states, the same members go on with them
// (roll_forward.h); else all ranks of the next generation load one checkpoint, or begin with initial weights
// when there is none.
#pragma once

#include <optional>
#include <string>

#include "coordinator/env.h"
#include "coordinator/jobs.h"

namespace ballast {

// The generation cannot go on because of `cause`; `lost` is the member that a peer does not reach any more.
// Waits before that, for CoreOptions::complete_timeout at most, for a checkpoint that lacks nothing of the
// lost member's (job.loss): a change of membership whose ranks have all ended loses no step to a loss. Ends
// the job FAILED instead when it has recovered too often from one checkpoint (RecoveryConfig). Requires
// job.assigned() or job.freeze.
void BeginRecovery(Env& env, JobEntry& job, const std::string& cause, const std::optional<WorkerId>& lost);
// Called after every event while job.loss: ends the generation when there is nothing to wait for any more.
void ContinueLoss(Env& env, JobEntry& job);
// Called after every event: decides for members that went away before they told of their ranks' end, when all
// others have. No peer need miss them, and they cannot train on. Those that have written the checkpoint
// behind the last step have ended, too; else they count as lost when they were away for 15 s.
void ContinueEnd(Env& env, JobEntry& job);
// All ranks have ended after one step, and its checkpoint is complete: the generation ends, and the next one
// goes on from there. It costs nothing, so it is not counted as a recovery.
void ChangeMembers(Env& env, JobEntry& job);
// Why the members change, or the job stops, as it was asked for.
std::string RequestReason(const JobEntry& job);
// After a change of leader: asks all members anew.
void ResumeRecovery(Env& env, JobEntry& job);

void OnFrozen(Env& env, JobEntry& job, const WorkerEntry& worker, const Frozen& message);
// A member of the frozen generation attached: the same process is asked to leave it, another one proves that
// the first is gone.
void OnMemberAttached(Env& env, JobEntry& job, const WorkerEntry& worker);
// A peer of the frozen generation reports it, too.
void OnReportedLost(JobEntry& job, const WorkerId& lost);

// Begins the next generation if nothing is in the way. Called after every event for a job with job.freeze.
void GoOn(Env& env, JobTable& jobs, JobEntry& job);
// What GoOn waits for: answers, or ranks.
std::string WaitsFor(const JobTable& jobs, const Membership& workers, const JobEntry& job);

}  // namespace ballast
