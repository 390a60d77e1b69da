// What the coordinator's state says at one moment, as metrics.
#pragma once

#include <cstddef>
#include <map>
#include <vector>

#include "coordinator/core.h"
#include "coordinator/status.h"
#include "metrics/metric_set.h"

namespace ballast {

// Copies, so that the driver's thread is held for a moment alone.
struct StateSnapshot {
  LeaderStatus leader;
  std::vector<JobStatus> jobs;              // in order of submission; of those that have ended the last few
  std::map<JobId, JobTelemetry> telemetry;  // of those that have not ended
  std::vector<WorkerStatus> workers;
};
inline constexpr size_t kEndedJobsShown = 16;

StateSnapshot TakeSnapshot(const Core& core);

// `metrics` is new for every scrape: what is gone has no series.
void FillStateMetrics(const StateSnapshot& snapshot, MetricSet& metrics);

}  // namespace ballast
