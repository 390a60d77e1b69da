// CoordinatorMetrics: the coordinator's /metrics page. Times and counts of events gather here; all else is
// read from the core at every scrape.
#pragma once

#include <map>
#include <string>

#include "base/mutex.h"
#include "coordinator/driver.h"
#include "coordinator/state_metrics.h"
#include "metrics/metric_set.h"

namespace ballast {

class CoordinatorMetrics final : public DriverObserver {
 public:
  CoordinatorMetrics() = default;

  // The driver's thread.
  void OnStoreCommit(Duration taken, bool ok) override;
  void OnPublish(const WatchEvent& event, const Core& core, Time now) override EXCLUDES(mutex_);

  // The page's text; `process` has what both daemons say of themselves. From any thread.
  std::string Text(const StateSnapshot& snapshot, const MetricSet& process) EXCLUDES(mutex_);

 private:
  // The newest change of a plan that was seen.
  struct PlanSeen {
    PlanVersion version;
    PlanState state = PlanState::kProposed;
    Time since;
  };
  struct JobEvents {
    PlanSeen plan;
    std::map<std::string, int64_t> transitions;  // by state
    std::map<std::string, int64_t> events;       // by kind
    bool shown = false;                          // in a snapshot
  };
  void OnPlan(const PlanRecord& record, JobEvents& job, Time now) REQUIRES(mutex_);

  MetricSet lasting_;  // without the labels of jobs
  Mutex mutex_;
  std::map<JobId, JobEvents> jobs_ GUARDED_BY(mutex_);
};

// The page of `driver`: 503 when it does not answer within `patience`.
struct PageReply;
PageReply ServeMetrics(Driver& driver, CoordinatorMetrics& metrics, const MetricSet& process,
                       Duration patience = Seconds(5));

}  // namespace ballast
