#include "coordinator/coordinator_metrics.h"

#include <future>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "metrics/catalog.h"
#include "metrics/page_server.h"

namespace ballast {

void CoordinatorMetrics::OnStoreCommit(Duration taken, bool ok) {
  lasting_.Observe(metrics::kStoreCommit, {}, ToSeconds(taken));
  lasting_.Add(metrics::kStoreFailures, {}, ok ? 0 : 1);
}

void CoordinatorMetrics::OnPublish(const WatchEvent& event, const Core& core, Time now) {
  const auto* told = std::get_if<JobEvent>(&event);
  if (told == nullptr) return;
  MutexLock lock(mutex_);
  JobEvents& job = jobs_[told->job];
  ++job.events[ToString(told->kind)];
  if (told->version.value() == 0) return;
  absl::StatusOr<PlanRecord> record = core.PlanOf(told->job, told->version);
  if (record.ok()) OnPlan(*record, job, now);
}

void CoordinatorMetrics::OnPlan(const PlanRecord& record, JobEvents& job, Time now) {
  const PlanVersion version = record.plan->stamp.version;
  const bool same = job.plan.version == version;
  if (same && job.plan.state == record.state) return;
  switch (record.state) {
    case PlanState::kProposed:
      ++job.transitions["proposed"];
      break;
    case PlanState::kCommitted:
      ++job.transitions["committed"];
      // Without the earlier change (an older leader saw it) there is no time to tell.
      if (same) lasting_.Observe(metrics::kPlanStaging, {}, ToSeconds(now - job.plan.since));
      break;
    case PlanState::kActive:
      ++job.transitions["active"];
      if (same) lasting_.Observe(metrics::kPlanSwitch, {}, ToSeconds(now - job.plan.since));
      break;
    case PlanState::kAborted:
      ++job.transitions[record.rejected ? "rejected" : "aborted"];
      break;
    case PlanState::kSuperseded:
      ++job.transitions["superseded"];
      break;
  }
  job.plan = {version, record.state, now};
}

std::string CoordinatorMetrics::Text(const StateSnapshot& snapshot, const MetricSet& process) {
  MetricSet state;
  FillStateMetrics(snapshot, state);
  MutexLock lock(mutex_);
  std::set<JobId> shown;
  for (const JobStatus& job : snapshot.jobs) {
    const JobId& name = job.record.config->name;
    shown.insert(name);
    auto events = jobs_.find(name);
    if (events == jobs_.end()) continue;
    events->second.shown = true;
    for (const auto& [plan_state, count] : events->second.transitions) {
      state.Add(metrics::kPlanStates, {name.value(), plan_state}, static_cast<double>(count));
    }
    for (const auto& [kind, count] : events->second.events) {
      state.Add(metrics::kJobEvents, {name.value(), kind}, static_cast<double>(count));
    }
  }
  // A job that is in no snapshot yet is newer than this one.
  std::erase_if(jobs_, [&](const auto& job) { return job.second.shown && shown.count(job.first) == 0; });
  return MetricsText({&process, &lasting_, &state});
}

PageReply ServeMetrics(Driver& driver, CoordinatorMetrics& metrics, const MetricSet& process,
                       Duration patience) {
  auto answer = std::make_shared<std::promise<std::optional<StateSnapshot>>>();
  std::future<std::optional<StateSnapshot>> snapshot = answer->get_future();
  const bool asked = driver.Read([answer](const Core* core) {
    answer->set_value(core == nullptr ? std::nullopt : std::make_optional(TakeSnapshot(*core)));
  });
  if (!asked || snapshot.wait_for(patience) != std::future_status::ready) {
    return {.status = 503, .text = "the coordinator is stopping or overloaded\n"};
  }
  std::optional<StateSnapshot> state = snapshot.get();
  if (!state.has_value()) return {.status = 503, .text = "the coordinator is stopping\n"};
  return {.status = 200, .text = metrics.Text(*state, process), .content_type = kMetricsContentType};
}

}  // namespace ballast
