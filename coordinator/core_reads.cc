// What may be read of the core between two events.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "coordinator/core_state.h"

namespace ballast {

JobStatus Core::State::StatusOf(const JobEntry& job) const {
  JobStatus status;
  status.record = job.record;
  if (job.record.state == JobState::kQueued) status.record.reason = QueueReason(jobs, workers, job);
  if (const CheckpointRecord* newest = job.newest_checkpoint()) status.checkpoint = *newest;
  status.recent_steps.assign(job.telemetry.recent().begin(), job.telemetry.recent().end());
  if (job.record.generation.value() > 0) {
    for (const Member& member : job.generation.members) {
      if (std::find(status.workers.begin(), status.workers.end(), member.worker) == status.workers.end()) {
        status.workers.push_back(member.worker);
      }
    }
  }
  if (job.record.trained_seconds > 0) {
    status.tokens_per_s = static_cast<double>(job.record.trained_tokens) / job.record.trained_seconds;
  }
  if (!job.final()) status.eta_s = job.telemetry.EtaSeconds(job.record.step);
  if (job.in_flight.has_value()) status.in_flight = job.in_flight->version;
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
    status.incarnation = worker.hello.incarnation;
    status.node = worker.hello.node;
    status.device = worker.hello.device;
    status.ranks = worker.hello.ranks;
    status.data_address = worker.hello.data_address;
    status.labels = worker.hello.labels;
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

LeaderStatus Core::Leader() const { return {state_->term, state_->refusing}; }

}  // namespace ballast
