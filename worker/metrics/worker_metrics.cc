#include "worker/metrics/worker_metrics.h"

#include "metrics/catalog.h"

namespace ballast {

WorkerMetrics::RunSums& WorkerMetrics::SumsOf(const RunId& run) {
  if (run_ == nullptr || run_->run != run) {
    run_ = std::make_unique<RunSums>();
    run_->run = run;
  }
  return *run_;
}

void WorkerMetrics::OnRankStep(const RunId& run, Rank rank, const RankStep& step,
                               const std::vector<int64_t>& layer_assignments) {
  MutexLock lock(mutex_);
  RunSums& sums = SumsOf(run);
  sums.steps.Observe(metrics::kStepSeconds, {run.job.value(), std::to_string(rank.value())}, step.seconds);
  RankSums& of_rank = sums.ranks[rank];
  for (size_t phase = 0; phase < kPhases; ++phase) of_rank.phase_seconds[phase] += step.phase_seconds[phase];
  of_rank.wait_seconds += step.wait_seconds;
  of_rank.sent_bytes += step.bytes_sent;
  of_rank.received_bytes += step.bytes_received;
  of_rank.layer_assignments.resize(layer_assignments.size());
  for (size_t layer = 0; layer < layer_assignments.size(); ++layer) {
    of_rank.layer_assignments[layer] += layer_assignments[layer];
  }
}

void WorkerMetrics::OnRunEnd(const RunId& run) {
  MutexLock lock(mutex_);
  if (run_ != nullptr && run_->run == run) run_.reset();
}

void WorkerMetrics::OnProbes(const RunId& run, const std::vector<LinkProbe>& links,
                             const std::vector<Member>& members) {
  MutexLock lock(mutex_);
  for (const LinkProbe& link : links) {
    if (!link.failure.empty()) {
      ++probe_failures_;
      continue;
    }
    RunSums& sums = SumsOf(run);
    std::pair<std::string, std::string> nodes = {members[link.from.index()].node,
                                                 members[link.to.index()].node};
    if (sums.links.size() < kLinksShown || sums.links.count(nodes) > 0) sums.links[std::move(nodes)] = link;
  }
}

std::string WorkerMetrics::Text(bool attached, int64_t reports_dropped, const MetricSet& process) {
  MetricSet now;
  now.Set(metrics::kAttached, {}, attached ? 1 : 0);
  now.Add(metrics::kDropped, {}, static_cast<double>(reports_dropped));
  MutexLock lock(mutex_);
  now.Add(metrics::kProbeFailures, {}, static_cast<double>(probe_failures_));
  if (run_ == nullptr) return MetricsText({&process, &now});
  const std::string& job = run_->run.job.value();
  for (const auto& [id, sums] : run_->ranks) {
    const std::string rank = std::to_string(id.value());
    now.Set(metrics::kWorkerInfo, {job, rank, identity_.worker.value(), identity_.node, identity_.device}, 1);
    for (size_t phase = 0; phase < kPhases; ++phase) {
      now.Add(metrics::kPhaseSeconds, {job, rank, ToString(static_cast<Phase>(phase))},
              sums.phase_seconds[phase]);
    }
    now.Add(metrics::kWaitSeconds, {job, rank}, sums.wait_seconds);
    now.Add(metrics::kSentBytes, {job, rank}, static_cast<double>(sums.sent_bytes));
    now.Add(metrics::kReceivedBytes, {job, rank}, static_cast<double>(sums.received_bytes));
    for (size_t layer = 0; layer < sums.layer_assignments.size(); ++layer) {
      now.Add(metrics::kLayerAssignments, {job, rank, std::to_string(layer)},
              static_cast<double>(sums.layer_assignments[layer]));
    }
  }
  for (const auto& [nodes, link] : run_->links) {
    now.Set(metrics::kLinkLatency, {job, nodes.first, nodes.second}, link.latency_seconds);
    now.Set(metrics::kLinkBandwidth, {job, nodes.first, nodes.second}, link.bytes_per_second);
  }
  return MetricsText({&process, &now, &run_->steps});
}

}  // namespace ballast
