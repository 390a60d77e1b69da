#include "coordinator/state_metrics.h"

#include <algorithm>
#include <string>
#include <utility>

#include "coordinator/layer_balance.h"
#include "metrics/catalog.h"

namespace ballast {
namespace {

constexpr JobState kJobStates[] = {JobState::kQueued,     JobState::kStarting, JobState::kRunning,
                                   JobState::kRecovering, JobState::kStopping, JobState::kSucceeded,
                                   JobState::kFailed};

std::string Text(int64_t number) { return std::to_string(number); }

void FillProgress(const JobStatus& status, MetricSet& metrics) {
  const std::vector<std::string> job = {status.record.config->name.value()};
  const JobRecord& record = status.record;
  metrics.Set(metrics::kJobStep, job, static_cast<double>(record.step.value()));
  metrics.Set(metrics::kJobSteps, job, static_cast<double>(record.config->training.steps));
  metrics.Add(metrics::kJobTokens, job, static_cast<double>(record.trained_tokens));
  metrics.Set(metrics::kJobGeneration, job, static_cast<double>(record.generation.value()));
  metrics.Set(metrics::kJobPlan, job, static_cast<double>(record.active.value()));
  metrics.Add(metrics::kJobSlotWrites, job, static_cast<double>(record.slot_writes));
  metrics.Set(metrics::kJobRemaining, job, status.eta_s);
  for (const EvaluationPoint& point : record.evaluations) {  // by step: the newest of a source stays
    metrics.Set(metrics::kJobEvaluation, {job[0], point.source}, point.loss);
  }
  metrics.Set(metrics::kJobPlanInFlight, {job[0], "proposed"},
              status.in_flight.value() > 0 && !status.in_flight_committed ? 1 : 0);
  metrics.Set(metrics::kJobPlanInFlight, {job[0], "committed"}, status.in_flight_committed ? 1 : 0);
  if (status.predicted_step_seconds > 0) {
    metrics.Set(metrics::kStepPredicted, job, status.predicted_step_seconds);
    metrics.Set(metrics::kStepMeasured, job, status.measured_step_seconds);
  }
  if (status.recent_steps.empty()) return;
  const StepPoint& point = status.recent_steps.back();
  metrics.Set(metrics::kJobLoss, job, point.loss);
  metrics.Set(metrics::kJobGradientNorm, job, point.gradient_norm);
  metrics.Set(metrics::kJobTokenRate, job, point.tokens_per_s);
  metrics.Set(metrics::kJobImbalance, job, point.imbalance);
  metrics.Set(metrics::kJobContiguousImbalance, job, point.contiguous_imbalance);
}

void FillRanks(const std::string& job, const JobTelemetry& telemetry, MetricSet& metrics) {
  for (const RankTelemetry& rank : telemetry.ranks) {
    const std::vector<std::string> labels = {job, Text(rank.rank.value())};
    metrics.Set(metrics::kWorkerInfo, {job, labels[1], rank.worker.value(), rank.node, rank.device}, 1);
    if (rank.last.step.value() == 0) continue;
    metrics.Set(metrics::kRankStep, labels, rank.last.seconds);
    metrics.Set(metrics::kRankWait, labels, rank.last.wait_seconds);
    metrics.Set(metrics::kRankSpeed, labels, rank.speed);
    metrics.Set(metrics::kRankAssignments, labels, static_cast<double>(rank.last.assignments));
  }
}

void FillLayers(const std::string& job, const StepReport& report, MetricSet& metrics) {
  for (size_t layer = 0; layer < report.load.tokens.size(); ++layer) {
    const LayerBalance balance = BalanceOf(report.load.tokens[layer], report.rank_tokens[layer], kHotExperts);
    const std::vector<std::string> labels = {job, std::to_string(layer)};
    metrics.Set(metrics::kLayerImbalance, labels, balance.imbalance);
    metrics.Set(metrics::kLayerVariation, labels, balance.variation);
    for (size_t i = 0; i < balance.hottest.size(); ++i) {
      const std::vector<std::string> slot = {job, labels[1], std::to_string(i + 1)};
      metrics.Set(metrics::kHotShare, slot, balance.hottest[i].share);
      metrics.Set(metrics::kHotExpert, slot, balance.hottest[i].expert.value());
    }
  }
}

}  // namespace

StateSnapshot TakeSnapshot(const Core& core) {
  StateSnapshot snapshot{core.Leader(), {}, {}, core.Workers()};
  std::vector<JobStatus> jobs = core.Jobs();
  size_t ended = 0;
  for (auto job = jobs.rbegin(); job != jobs.rend(); ++job) {
    const JobId& name = job->record.config->name;
    if (IsFinal(job->record.state)) {
      if (++ended > kEndedJobsShown) continue;
    } else if (absl::StatusOr<JobTelemetry> telemetry = core.Telemetry(name); telemetry.ok()) {
      snapshot.telemetry.emplace(name, *std::move(telemetry));
    }
    snapshot.jobs.push_back(std::move(*job));
  }
  std::reverse(snapshot.jobs.begin(), snapshot.jobs.end());
  return snapshot;
}

void FillStateMetrics(const StateSnapshot& snapshot, MetricSet& metrics) {
  metrics.Set(metrics::kLeading, {}, snapshot.leader.leading() ? 1 : 0);
  metrics.Set(metrics::kTerm, {}, static_cast<double>(snapshot.leader.term.value()));
  for (const JobStatus& job : snapshot.jobs) {
    const std::string& name = job.record.config->name.value();
    for (JobState state : kJobStates) {
      metrics.Set(metrics::kJobState, {name, ToString(state)}, job.record.state == state ? 1 : 0);
    }
    if (IsFinal(job.record.state)) continue;
    FillProgress(job, metrics);
    auto telemetry = snapshot.telemetry.find(job.record.config->name);
    if (telemetry == snapshot.telemetry.end()) continue;
    metrics.Add(metrics::kReportsRejected, {name}, static_cast<double>(telemetry->second.rejected));
    metrics.Set(metrics::kSlowLinks, {name}, static_cast<double>(telemetry->second.slow_links.size()));
    FillRanks(name, telemetry->second, metrics);
    FillLayers(name, telemetry->second.last, metrics);
  }
  for (const WorkerStatus& worker : snapshot.workers) {
    metrics.Set(metrics::kWorkerAttached, {worker.name.value()}, worker.attached ? 1 : 0);
    metrics.Add(metrics::kWorkerDropped, {worker.name.value()}, static_cast<double>(worker.reports_dropped));
  }
}

}  // namespace ballast
