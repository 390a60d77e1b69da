// Jobs: from submission to the end; what members say about the run itself.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "coordinator/env.h"
#include "coordinator/job_entry.h"

namespace ballast {

using JobTable = std::map<JobId, JobEntry>;

// Reply in every case.
void OnSubmit(Env& env, JobTable& jobs, const SubmitJob& submit);
void OnStop(Env& env, JobEntry& job, const StopJob& stop);

// Starts jobs, the recovering ones first, then the queued ones by age, on the workers that have nothing to
// do; what these leave is for RUNNING jobs with too few ranks (drain.h). A job that does not fit yet does not
// hold up a younger one that does.
void StartWaiting(Env& env, JobTable& jobs);
// "waits for 4 idle ranks; 2 are attached", and of which kinds of device (WaitingText).
std::string QueueReason(const JobTable& jobs, const Membership& workers, const JobEntry& job);
// Attached workers that no job uses, by name. The members of a recovering job are its own: they are idle for
// `job` alone (null = for none).
std::vector<const WorkerEntry*> IdleWorkers(const JobTable& jobs, const Membership& workers,
                                            const JobEntry* job);
void TellState(Env& env, JobEntry& job);

// The job ends FAILED; its members are told to abort.
void FailJob(Env& env, JobEntry& job, const std::string& reason);

// All ranks have ended after job.drained_step, and the job is to end, too.
void EndStopped(Env& env, JobEntry& job);

// From members of the job's generation.
void OnStarted(Env& env, JobEntry& job, const WorkerId& worker);
void OnFinished(Env& env, JobEntry& job, const WorkerId& worker, const Finished& message);
// As after the last member's Finished. Requires job.ranks_end.
void OnAllFinished(Env& env, JobEntry& job);
// Ends the job when all members have finished and their last checkpoint is complete, has failed, or has been
// waited for long enough.
void EndFinished(Env& env, JobEntry& job);
void OnRendezvousPut(Env& env, JobEntry& job, const RendezvousPut& message);

// Tells of members that went away or came back since the last tick and, once, of members that have been
// detached for switch_alarm. They may train on, so the job goes on too; when all of them are gone, no one
// else says so. Called at every tick while the job is assigned.
void WatchMembers(Env& env, JobEntry& job);

// To every member of the job's generation.
Assign AssignOf(const Env& env, const JobEntry& job);
// What the newest generation's ranks tell of their tokens: nothing, unless the job's strategy needs it and
// the ranks are on several nodes.
TokenSampling SamplingOf(const JobEntry& job);
// Says again to a member that attached whatever applies to it.
void ResendJob(Env& env, const JobEntry& job, const WorkerEntry& worker);

// The entry of a job as the store has it. Needs a config that was checked at submission.
JobEntry* AddEntry(JobTable& jobs, const JobRecord& record, const CoreOptions& options);
// Topology and limits of the newest generation.
void UseGeneration(JobEntry& job, GenerationRecord generation);

}  // namespace ballast
