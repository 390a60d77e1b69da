// Checkpoints: from the members' parts to a complete one, and which are kept.
//
// A checkpoint is WRITTEN when every member has its files on disk, which is durable before the manifest is
// sent to the lowest attached rank's worker, and PUBLISHED when that worker has put it in place. Only
// published ones are loaded. Of one generation, a later checkpoint makes an earlier unfinished one obsolete.
#pragma once

#include <set>
#include <vector>

#include "coordinator/env.h"
#include "coordinator/job_entry.h"

namespace ballast {

// Reply in every case.
void OnRequestCheckpoint(Env& env, JobEntry& job, const RequestCheckpoint& request);

// From members of the job's generation.
void OnCheckpointWritten(Env& env, JobEntry& job, const WorkerEntry& worker,
                         const CheckpointWritten& message);
void OnCheckpointFailed(Env& env, JobEntry& job, const WorkerEntry& worker, const CheckpointFailed& message);
void OnCheckpointPublished(Env& env, JobEntry& job, const WorkerEntry& worker,
                           const CheckpointPublished& message);

// Says again to a member that attached what it has to publish.
void ResendCheckpoints(Env& env, const JobEntry& job, const WorkerEntry& worker);

// A member is lost: says again what is to be published, to one that is not.
void PublishElsewhere(Env& env, const JobEntry& job);
// Whether a checkpoint of this generation can still become complete although `lost` members are gone: all of
// it is written, or ranks have finished and only attached members still have to say that their parts are.
bool MayComplete(const Env& env, const JobEntry& job, const std::set<WorkerId>& lost);

// Something of this generation is written and not resolved yet: worth a short wait before the job ends.
bool CheckpointUnderWay(const JobEntry& job);
// The generation is over: what is not published now will never be. Returns the records to be written.
std::vector<RecordWrite> EndCheckpoints(JobEntry& job);

}  // namespace ballast
