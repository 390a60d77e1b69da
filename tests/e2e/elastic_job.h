// A job that survives the loss of a rank, and what its losses must be then.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/strings/match.h"
#include "tests/e2e/cluster.h"

namespace ballast {

// `max` ranks are wanted, `min` do; a checkpoint after every tenth step.
//
// Sums are grouped by rank, so losses on three ranks differ from those on four by rounding, and after some
// hundred steps a near tie of two experts falls the other way: the promise of 1e-4 is for tens of steps.
JobConfig ElasticJob(const Cluster& cluster, int min, int max, int64_t steps);

// The steps that `status` tells of have the losses of an undisturbed run on job.placement.ranks ranks, within
// 1e-4 relative; prints the largest difference.
void ExpectUndisturbed(const Cluster& cluster, JobConfig job, const v1::JobStatus& status);

// Those up to `last` have the very same losses.
void ExpectSameBits(const Cluster& cluster, JobConfig job, const v1::JobStatus& status, int64_t last);

// Waits for the end of "demo", which must be a success, and undisturbed.
void ExpectSuccessUndisturbed(Cluster& cluster, const JobConfig& job);

// The coordinator's events of "demo".
std::vector<v1::LoggedEvent> Events(Cluster& cluster, int64_t since_unix_ms = 0);

// An alarm of how fast ranks, links or steps are, which a busy machine raises by itself.
inline bool TellsOfSpeed(const v1::LoggedEvent& event) {
  return event.kind() == v1::EVENT_KIND_ALARM && absl::StartsWith(event.text(), "step ");
}

// For WaitForJob.
inline auto InGeneration(int64_t generation) {
  return [generation](const v1::JobStatus& job) {
    return job.generation() == generation && job.state() == v1::JOB_STATE_RUNNING;
  };
}

}  // namespace ballast
