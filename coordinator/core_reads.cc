// What may be read of the core between two events.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/core_state.h"
#include "coordinator/plan_account.h"
#include "coordinator/recovery.h"

namespace ballast {

JobStatus Core::State::StatusOf(const JobEntry& job) const {
  JobStatus status;
  status.record = job.record;
  if (job.record.state == JobState::kQueued) status.record.reason = QueueReason(jobs, workers, job);
  if (const CheckpointRecord* newest = job.newest_checkpoint()) status.checkpoint = *newest;
  if (job.freeze.has_value()) {
    absl::StrAppend(&status.record.reason, "; ", WaitsFor(jobs, workers, job));
  }
  status.recent_steps.assign(job.telemetry.recent().begin(), job.telemetry.recent().end());
  if (job.record.generation.value() > 0) {
    for (const Member& member : job.generation.members) {
      if (member.local_rank == 0) status.workers.push_back(member.worker);
    }
  }
  if (job.record.trained_seconds > 0) {
    status.tokens_per_s = static_cast<double>(job.record.trained_tokens) / job.record.trained_seconds;
  }
  if (!job.final()) status.eta_s = job.telemetry.EtaSeconds(job.record.step);
  for (auto plan = job.plans.rbegin(); plan != job.plans.rend(); ++plan) {
    if (plan->second.state != PlanState::kActive || plan->second.plan->body.predicted_step_seconds == 0)
      continue;
    auto record = job.explanations.find(plan->first);
    const bool complete = record != job.explanations.end() && record->second.measured.complete;
    const MeasuredGain measured = complete ? record->second.measured : MeasureSoFar(job, plan->first);
    if (measured.steps == 0) continue;
    status.predicted_step_seconds = plan->second.plan->body.predicted_step_seconds;
    status.measured_step_seconds = measured.step_seconds;
    break;
  }
  if (job.in_flight.has_value()) {
    status.in_flight = job.in_flight->version;
    status.in_flight_committed = job.in_flight->committed;
  }
  return status;
}

std::vector<JobStatus> Core::Jobs() const {
  std::vector<JobStatus> statuses;
  for (const auto& [name, job] : state_->jobs) statuses.push_back(state_->StatusOf(job));
  std::sort(statuses.begin(), statuses.end(),
            [](const JobStatus& a, const JobStatus& b) { return a.record.order < b.record.order; });
  return statuses;
}

absl::StatusOr<JobStatus> Core::Job(const JobId& name) const {
  auto it = state_->jobs.find(name);
  if (it == state_->jobs.end()) return absl::NotFoundError(absl::StrCat("no job ", name.value()));
  return state_->StatusOf(it->second);
}

absl::StatusOr<std::vector<PlanRecord>> Core::Plans(const JobId& name) const {
  auto it = state_->jobs.find(name);
  if (it == state_->jobs.end()) return absl::NotFoundError(absl::StrCat("no job ", name.value()));
  std::vector<PlanRecord> plans;
  for (const auto& [version, record] : it->second.plans) plans.push_back(record);
  return plans;
}

absl::StatusOr<std::vector<CheckpointRecord>> Core::Checkpoints(const JobId& name) const {
  auto it = state_->jobs.find(name);
  if (it == state_->jobs.end()) return absl::NotFoundError(absl::StrCat("no job ", name.value()));
  std::vector<CheckpointRecord> checkpoints;
  for (const auto& [key, record] : it->second.checkpoints) checkpoints.push_back(record);
  return checkpoints;
}

absl::StatusOr<PlanRecord> Core::PlanOf(const JobId& name, PlanVersion version) const {
  auto it = state_->jobs.find(name);
  if (it == state_->jobs.end()) return absl::NotFoundError(absl::StrCat("no job ", name.value()));
  const JobEntry& job = it->second;
  auto plan = job.plans.find(version.value() == 0 ? job.record.active : version);
  if (plan != job.plans.end()) return plan->second;
  if (version.value() == 0)
    return absl::NotFoundError(absl::StrCat("job ", name.value(), " has no active plan yet"));
  return absl::NotFoundError(absl::StrCat("job ", name.value(), " has no plan ", version.value(),
                                          "; the newest is ", job.record.last_version.value()));
}

absl::StatusOr<PlanAccount> Core::Explain(const JobId& name, PlanVersion version) const {
  PlanAccount account;
  BALLAST_ASSIGN_OR_RETURN(account.plan, PlanOf(name, version));
  const JobEntry& job = state_->jobs.at(name);
  const PlanVersion found = account.plan.plan->stamp.version;
  auto record = job.explanations.find(found);
  if (record != job.explanations.end()) {
    account.explanation = record->second.explanation;
    account.measured = record->second.measured;
  }
  if (!account.measured.complete) account.measured = MeasureSoFar(job, found);
  if (found == job.record.active) account.last_look = job.last_look_without_plan;
  return account;
}

absl::StatusOr<std::vector<JobEvent>> Core::Events(const JobId& name) const {
  auto it = state_->jobs.find(name);
  if (it == state_->jobs.end()) return absl::NotFoundError(absl::StrCat("no job ", name.value()));
  const std::deque<JobEvent>& events = it->second.events.events();
  return std::vector<JobEvent>(events.begin(), events.end());
}

std::vector<WorkerStatus> Core::Workers() const {
  std::vector<WorkerStatus> statuses;
  for (const auto& [name, worker] : state_->workers.workers()) {
    WorkerStatus status;
    status.name = name;
    status.attached = worker.attached();
    status.cordoned = state_->workers.cordoned(name);
    status.leaving = !worker.leaving.empty();
    status.incarnation = worker.hello.incarnation;
    status.node = worker.hello.node;
    status.device = worker.hello.device;
    status.ranks = worker.hello.ranks;
    status.data_address = worker.hello.data_address;
    status.labels = worker.hello.labels;
    status.reports_dropped = worker.reports_dropped;
    for (const auto& [job_name, job] : state_->jobs) {
      if (job.final() || !job.assigned() || !job.IsMember(name)) continue;
      status.job = job_name;
      status.generation = job.record.generation;
      status.step = std::max(worker.step, job.record.step);
      status.active_plan = std::max(worker.active, job.record.active);
    }
    statuses.push_back(std::move(status));
  }
  return statuses;
}

absl::StatusOr<JobTelemetry> Core::Telemetry(const JobId& name) const {
  auto it = state_->jobs.find(name);
  if (it == state_->jobs.end()) return absl::NotFoundError(absl::StrCat("no job ", name.value()));
  const JobEntry& job = it->second;
  JobTelemetry telemetry;
  telemetry.topology = job.topology;
  telemetry.links = job.links.links();
  telemetry.rejected = job.telemetry.rejected();
  if (!job.telemetry.steps().steps().empty()) telemetry.last = *job.telemetry.steps().steps().back();
  if (job.record.generation.value() == 0) return telemetry;
  const std::vector<double> slowdowns = job.calibration.link_slowdowns();
  const std::vector<std::string>& nodes = job.topology.node_names;
  for (size_t i = 0; i < slowdowns.size(); ++i) {
    if (slowdowns[i] > 1)
      telemetry.slow_links[{nodes[i / nodes.size()], nodes[i % nodes.size()]}] = slowdowns[i];
  }
  for (const Member& member : job.generation.members) {
    RankTelemetry& rank = telemetry.ranks.emplace_back();
    rank.rank = member.rank;
    rank.worker = member.worker;
    rank.node = member.node;
    rank.attached = state_->workers.StreamOf(member.worker, member.incarnation).value() > 0;
    auto worker = state_->workers.workers().find(member.worker);
    if (worker != state_->workers.workers().end()) rank.device = worker->second.hello.device;
    const std::deque<RankStep>& steps = job.telemetry.rank_steps().of(member.rank);
    rank.speed = static_cast<double>(job.calibration.speeds()[member.rank.index()]) / kHealthySpeed;
    if (steps.empty()) continue;
    rank.last = steps.back();
    for (const RankStep& step : steps) {
      rank.mean_seconds += step.seconds / static_cast<double>(steps.size());
      rank.mean_wait_seconds += step.wait_seconds / static_cast<double>(steps.size());
    }
  }
  return telemetry;
}

absl::StatusOr<std::vector<std::shared_ptr<const StepReport>>> Core::Loads(const JobId& name,
                                                                           size_t steps_max) const {
  auto it = state_->jobs.find(name);
  if (it == state_->jobs.end()) return absl::NotFoundError(absl::StrCat("no job ", name.value()));
  const auto& steps = it->second.telemetry.steps().steps();
  const size_t count = std::min(steps.size(), steps_max);
  return std::vector<std::shared_ptr<const StepReport>>(steps.end() - static_cast<ptrdiff_t>(count),
                                                        steps.end());
}

absl::StatusOr<TokenSample> Core::Tokens(const JobId& name) const {
  auto it = state_->jobs.find(name);
  if (it == state_->jobs.end()) return absl::NotFoundError(absl::StrCat("no job ", name.value()));
  return it->second.telemetry.tokens();
}

LeaderStatus Core::Leader() const { return {state_->term, state_->refusing}; }

}  // namespace ballast
