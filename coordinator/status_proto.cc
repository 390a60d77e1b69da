#include "coordinator/status_proto.h"

#include "absl/strings/str_format.h"

namespace ballast {
namespace {

v1::JobState ToProto(JobState state) {
  switch (state) {
    case JobState::kQueued:
      return v1::JOB_STATE_QUEUED;
    case JobState::kStarting:
      return v1::JOB_STATE_STARTING;
    case JobState::kRunning:
      return v1::JOB_STATE_RUNNING;
    case JobState::kRecovering:
      return v1::JOB_STATE_RECOVERING;
    case JobState::kStopping:
      return v1::JOB_STATE_STOPPING;
    case JobState::kSucceeded:
      return v1::JOB_STATE_SUCCEEDED;
    case JobState::kFailed:
      return v1::JOB_STATE_FAILED;
  }
  return v1::JOB_STATE_UNSPECIFIED;
}

v1::PlanState ToProto(PlanState state) {
  switch (state) {
    case PlanState::kProposed:
      return v1::PLAN_STATE_PROPOSED;
    case PlanState::kCommitted:
      return v1::PLAN_STATE_COMMITTED;
    case PlanState::kActive:
      return v1::PLAN_STATE_ACTIVE;
    case PlanState::kAborted:
      return v1::PLAN_STATE_ABORTED;
    case PlanState::kSuperseded:
      return v1::PLAN_STATE_SUPERSEDED;
  }
  return v1::PLAN_STATE_UNSPECIFIED;
}

v1::PlanOrigin ToProto(PlanOrigin origin) {
  switch (origin) {
    case PlanOrigin::kFirst:
      return v1::PLAN_ORIGIN_FIRST;
    case PlanOrigin::kPlanner:
      return v1::PLAN_ORIGIN_PLANNER;
    case PlanOrigin::kPushed:
      return v1::PLAN_ORIGIN_PUSHED;
    case PlanOrigin::kRollback:
      return v1::PLAN_ORIGIN_ROLLBACK;
    case PlanOrigin::kHomeMoves:
      return v1::PLAN_ORIGIN_HOME_MOVES;
    case PlanOrigin::kRecovery:
      return v1::PLAN_ORIGIN_RECOVERY;
  }
  return v1::PLAN_ORIGIN_UNSPECIFIED;
}

}  // namespace

v1::StepStatus ToProto(const StepPoint& point) {
  v1::StepStatus proto;
  proto.set_step(point.step.value());
  proto.set_loss(point.loss);
  proto.set_tokens_per_s(point.tokens_per_s);
  proto.set_imbalance(point.imbalance);
  proto.set_contiguous_imbalance(point.contiguous_imbalance);
  proto.set_plan_version(point.plan.value());
  proto.set_eta_s(point.eta_s);
  proto.set_gradient_norm(point.gradient_norm);
  return proto;
}

v1::Evaluation ToProto(const EvaluationPoint& point) {
  v1::Evaluation proto;
  proto.set_step(point.step.value());
  proto.set_source(point.source);
  proto.set_loss(point.loss);
  return proto;
}

v1::PlanStatus ToProto(const PlanRecord& plan) {
  v1::PlanStatus proto;
  if (plan.plan != nullptr) {
    const PlanStamp& stamp = plan.plan->stamp;
    proto.set_job(stamp.job.value());
    proto.set_version(stamp.version.value());
    proto.set_base_version(stamp.base_version.value());
    proto.set_generation(stamp.generation.value());
    proto.set_not_before_step(stamp.not_before_step.value());
    proto.set_reason(plan.plan->body.reason);
    // A dry run's plan has no version, and so no state.
    if (stamp.version.value() > 0) {
      proto.set_state(ToProto(plan.state));
      proto.set_digest(absl::StrFormat("%016x", plan.digest.value()));
    }
  }
  proto.set_origin(ToProto(plan.origin));
  proto.set_proposed_unix_s(static_cast<double>(plan.proposed_unix_ms) / 1000);
  proto.set_outcome(plan.outcome);
  proto.set_switch_step(plan.switch_step.value());
  proto.set_slot_writes(plan.slot_writes);
  proto.set_home_moves(plan.home_moves);
  proto.set_home_bytes(plan.home_bytes);
  proto.set_imbalance_before(plan.imbalance_before);
  proto.set_imbalance_after(plan.imbalance_after);
  proto.set_imbalance_bound(plan.imbalance_bound);
  proto.set_slot_bytes(plan.slot_bytes);
  if (plan.plan != nullptr) proto.set_predicted_step_seconds(plan.plan->body.predicted_step_seconds);
  return proto;
}

v1::CheckpointStatus ToProto(const CheckpointRecord& checkpoint) {
  v1::CheckpointStatus proto;
  proto.set_job(checkpoint.job.value());
  proto.set_step(checkpoint.step.value());
  proto.set_generation(checkpoint.generation.value());
  proto.set_plan_version(checkpoint.plan.value());
  proto.set_state(static_cast<v1::CheckpointState>(checkpoint.state));
  proto.set_directory(checkpoint.directory);
  proto.set_bytes(checkpoint.bytes);
  proto.set_written_unix_s(static_cast<double>(checkpoint.unix_ms) / 1000);
  proto.set_request(checkpoint.request.value());
  return proto;
}

v1::WorkerStatus ToProto(const WorkerStatus& worker) {
  v1::WorkerStatus proto;
  proto.set_name(worker.name.value());
  proto.set_attached(worker.attached);
  proto.set_cordoned(worker.cordoned);
  proto.set_leaving(worker.leaving);
  proto.set_node(worker.node);
  proto.set_device(worker.device);
  proto.set_ranks(worker.ranks);
  proto.set_data_address(worker.data_address);
  proto.set_job(worker.job.value());
  proto.set_generation(worker.generation.value());
  proto.set_step(worker.step.value());
  proto.set_active_plan(worker.active_plan.value());
  proto.set_incarnation(absl::StrFormat("%016x", worker.incarnation.value()));
  proto.set_reports_dropped(worker.reports_dropped);
  for (const auto& [key, value] : worker.labels) (*proto.mutable_labels())[key] = value;
  return proto;
}

v1::JobStatus ToProto(const JobStatus& job, bool details) {
  const JobRecord& record = job.record;
  v1::JobStatus proto;
  proto.set_name(record.config->name.value());
  proto.set_state(ToProto(record.state));
  proto.set_reason(record.reason);
  proto.set_step(record.step.value());
  proto.set_steps(record.config->training.steps);
  proto.set_generation(record.generation.value());
  proto.set_plan_version(record.active.value());
  proto.set_plans_committed(record.plans_committed);
  proto.set_slot_writes(record.slot_writes);
  proto.set_tokens_per_s(job.tokens_per_s);
  proto.set_eta_s(job.eta_s);
  proto.set_plan_in_flight(job.in_flight.value());
  if (job.checkpoint.has_value()) proto.set_checkpoint_step(job.checkpoint->step.value());
  proto.set_checkpoints_skipped(record.checkpoints_skipped);
  proto.set_predicted_step_s(job.predicted_step_seconds);
  proto.set_measured_step_s(job.measured_step_seconds);
  for (const WorkerId& worker : job.workers) proto.add_workers(worker.value());
  proto.set_submitted_unix_s(static_cast<double>(record.submitted_unix_ms) / 1000);
  if (!details) return proto;
  for (const EvaluationPoint& point : record.evaluations) *proto.add_evaluations() = ToProto(point);
  for (const StepPoint& point : job.recent_steps) *proto.add_recent_steps() = ToProto(point);
  return proto;
}

v1::LoggedEvent ToProto(const JobEvent& event) {
  v1::LoggedEvent proto;
  proto.set_number(event.number);
  proto.set_unix_ms(event.unix_ms);
  proto.set_step(event.step.value());
  proto.set_kind(static_cast<v1::EventKind>(event.kind));
  proto.set_plan_version(event.version.value());
  proto.set_text(event.text);
  return proto;
}

v1::JobEvent ToProto(const JobUpdate& update) {
  v1::JobEvent proto;
  if (const auto* status = std::get_if<JobStatus>(&update)) {
    *proto.mutable_state() = ToProto(*status, true);
  } else if (const auto* step = std::get_if<StepPoint>(&update)) {
    *proto.mutable_step() = ToProto(*step);
  } else if (const auto* plan = std::get_if<PlanUpdate>(&update)) {
    if (plan->plan.plan != nullptr) *proto.mutable_plan()->mutable_plan() = ToProto(plan->plan);
    proto.mutable_plan()->set_step(plan->step.value());
    proto.mutable_plan()->set_text(plan->text);
    proto.mutable_plan()->set_alarm(plan->alarm);
  } else if (const auto* evaluation = std::get_if<EvaluationPoint>(&update)) {
    *proto.mutable_evaluation() = ToProto(*evaluation);
  } else if (const auto* event = std::get_if<JobEvent>(&update)) {
    *proto.mutable_logged() = ToProto(*event);
  }
  return proto;
}

}  // namespace ballast
