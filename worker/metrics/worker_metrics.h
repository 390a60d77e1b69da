// WorkerMetrics: the worker's /metrics page.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "metrics/metric_set.h"
#include "protocol/messages.h"
#include "worker/daemon/run_observer.h"

namespace ballast {

// Adds up plain numbers, so that a step costs next to nothing; series are made when somebody scrapes. What
// belongs to a generation goes with it.
class WorkerMetrics final : public RunObserver {
 public:
  // `identity` gives the worker's name, node and device.
  explicit WorkerMetrics(const Hello& identity) : identity_(identity) {}

  // From any thread.
  void OnRankStep(const RunId& run, Rank rank, const RankStep& step,
                  const std::vector<int64_t>& layer_assignments) override EXCLUDES(mutex_);
  void OnRunEnd(const RunId& run) override EXCLUDES(mutex_);
  void OnProbes(const RunId& run, const std::vector<LinkProbe>& links,
                const std::vector<Member>& members) override EXCLUDES(mutex_);

  // The page's text. `process` has what both daemons say of themselves.
  std::string Text(bool attached, int64_t reports_dropped, const MetricSet& process) EXCLUDES(mutex_);

 private:
  struct RankSums {
    std::array<double, kPhases> phase_seconds{};
    double wait_seconds = 0;
    int64_t sent_bytes = 0;
    int64_t received_bytes = 0;
    std::vector<int64_t> layer_assignments;
  };
  struct RunSums {
    RunId run;
    std::map<Rank, RankSums> ranks;
    MetricSet steps;  // the histogram
    // By the names of two nodes; at most kLinksShown.
    std::map<std::pair<std::string, std::string>, LinkProbe> links;
  };
  static constexpr size_t kLinksShown = 64;

  RunSums& SumsOf(const RunId& run) REQUIRES(mutex_);

  const Hello identity_;
  Mutex mutex_;
  std::unique_ptr<RunSums> run_ GUARDED_BY(mutex_);  // null = no rank has done a step
  int64_t probe_failures_ GUARDED_BY(mutex_) = 0;
};

}  // namespace ballast
