#include "coordinator/jobs.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "coordinator/checkpoints.h"
#include "coordinator/device_kind.h"
#include "coordinator/drain.h"
#include "coordinator/generation.h"
#include "coordinator/plan_account.h"
#include "coordinator/planner/register.h"
#include "coordinator/plans.h"
#include "coordinator/recovery.h"
#include "coordinator/rollout.h"
#include "plan/contiguous.h"

namespace ballast {
namespace {

void ReplyTo(Env& env, ReplyToken token, absl::Status status, const JobId& job) {
  env.actions.push_back(Reply{
      .token = token, .status = std::move(status), .job = job, .plan = {}, .text = {}, .term = env.term});
}

// Everything that can be said against a job before any worker has seen it.
absl::Status CheckJob(const JobConfig& config) {
  BALLAST_ASSIGN_OR_RETURN(ParameterLayout layout,
                           ParameterLayout::Make(config.model, config.placement.block_elements));
  BALLAST_ASSIGN_OR_RETURN(PlanBody first, ContiguousPlan(config, layout, config.ranks_max()));
  BALLAST_RETURN_IF_ERROR(ValidatePlan(first, layout, LimitsFor(config, layout, config.ranks_max())));
  absl::Status strategy = Planners().Find(config.planner.strategy).status();
  if (strategy.ok()) return strategy;
  return absl::InvalidArgumentError(absl::StrCat("planner.strategy: ", std::string(strategy.message())));
}

// The plan of a checkpoint can be this job's first: it is of as many ranks, slots and blocks.
bool Fits(const JobConfig& config, const PlanBody& body) {
  const absl::StatusOr<ParameterLayout> layout =
      ParameterLayout::Make(config.model, config.placement.block_elements);
  return layout.ok() && ValidatePlan(body, *layout, LimitsFor(config, *layout, config.placement.ranks)).ok();
}

// The generation is over and the job with it.
void EndJob(Env& env, JobEntry& job, JobState state, const std::string& reason) {
  job.record.state = state;
  job.record.reason = reason;
  const std::string outcome = absl::StrCat("the job ended: ", reason.empty() ? ToString(state) : reason);
  const PlanVersion dropped = job.in_flight.has_value() ? job.in_flight->version : PlanVersion();
  // Those that left a generation to go on with another one still hold what that would have begun with.
  const bool members_wait = job.assigned() || job.freeze.has_value();
  std::vector<RecordWrite> writes = EndGeneration(job, outcome);
  job.freeze.reset();
  job.loss.reset();
  writes.insert(writes.begin(), job.record);
  env.Store(std::move(writes));
  TellDropped(env, job, dropped);
  GiveUpLook(env, job);
  if (members_wait)
    env.SendToMembers(job, Abort{.stamp = env.StampOf(job), .reason = outcome, .job_ended = true});
  TellState(env, job);
}

}  // namespace

void TellState(Env& env, JobEntry& job) {
  std::string text = absl::StrCat("job ", job.name().value(), " is ", ToString(job.record.state));
  if (!job.record.reason.empty()) absl::StrAppend(&text, ": ", job.record.reason);
  env.Tell(job, JobEvent::Kind::kState, std::move(text), job.record.step);
}

std::vector<const WorkerEntry*> IdleWorkers(const JobTable& jobs, const Membership& workers,
                                            const JobEntry* mine) {
  std::set<WorkerId> busy;
  for (const auto& [name, job] : jobs) {
    if (job.final() || &job == mine || !(job.assigned() || job.freeze.has_value())) continue;
    for (const auto& [worker, incarnation] : job.processes) busy.insert(worker);
  }
  std::vector<const WorkerEntry*> idle;
  for (const auto& [name, worker] : workers.workers()) {
    const bool may = !worker.silent && worker.leaving.empty() && !workers.cordoned(name);
    if (worker.attached() && may && busy.count(name) == 0) idle.push_back(&worker);
  }
  return idle;
}

JobEntry* AddEntry(JobTable& jobs, const JobRecord& record, const CoreOptions& options) {
  absl::StatusOr<ParameterLayout> layout =
      ParameterLayout::Make(record.config->model, record.config->placement.block_elements);
  BALLAST_CHECK_OK(layout.status());
  return &jobs.try_emplace(record.config->name, record, *std::move(layout), options).first->second;
}

void UseGeneration(JobEntry& job, GenerationRecord generation) {
  std::vector<std::string> nodes;
  for (const Member& member : generation.members) nodes.push_back(member.node);
  job.topology = Topology::FromNodeNames(nodes);
  job.links.Fill(job.topology);
  job.calibration = JobCalibration(job.topology);
  job.telemetry.ForgetRanks(static_cast<int>(generation.members.size()));
  job.limits = LimitsFor(job.config(), job.layout, static_cast<int>(generation.members.size()));
  job.generation = std::move(generation);
  job.processes.clear();
  for (const Member& member : job.generation.members) job.processes[member.worker] = member.incarnation;
  job.started.clear();
  job.finished.clear();
  job.ranks_end.reset();
  job.end_by.reset();
  job.drained_step = Step();
  job.detached.clear();
  job.alarmed.clear();
  job.unobserved.clear();
  job.rendezvous = Rendezvous();
  job.planning.reset();
}

void OnSubmit(Env& env, JobTable& jobs, const SubmitJob& submit) {
  const JobId& name = submit.config->name;
  if (jobs.count(name) > 0) {
    return ReplyTo(
        env, submit.reply,
        absl::AlreadyExistsError(absl::StrCat("job ", name.value(), " exists; a name is used once")), name);
  }
  absl::Status valid = CheckJob(*submit.config);
  if (!valid.ok()) return ReplyTo(env, submit.reply, valid, name);
  JobRecord record;
  record.config = submit.config;
  if (submit.resume.has_value()) {
    if (submit.resume->step.value() >= submit.config->training.steps) {
      return ReplyTo(env, submit.reply,
                     absl::InvalidArgumentError(absl::StrCat(
                         "training.steps: found ", submit.config->training.steps, ", allowed more than ",
                         submit.resume->step.value(), ", the step of the checkpoint")),
                     name);
    }
    record.resume = submit.resume;
    record.resume_generation = submit.resume_generation;
    record.step = submit.resume->step;
    if (submit.resume_plan != nullptr && Fits(*submit.config, *submit.resume_plan))
      record.first_plan = submit.resume_plan;
  }
  record.submitted_unix_ms = env.now.unix_ms;
  for (const auto& [other, entry] : jobs) record.order = std::max(record.order, entry.record.order);
  ++record.order;
  env.Store({record});
  JobEntry* job = AddEntry(jobs, record, env.options);
  TellState(env, *job);
  ReplyTo(env, submit.reply, absl::OkStatus(), name);
}

void OnStop(Env& env, JobEntry& job, const StopJob& stop) {
  if (job.final()) {
    return ReplyTo(env, stop.reply,
                   absl::FailedPreconditionError(absl::StrCat("job ", job.name().value(), " is ",
                                                              ToString(job.record.state), " already")),
                   job.name());
  }
  if (!job.assigned()) {
    EndJob(env, job, JobState::kFailed,
           absl::StrCat("stopped by ", stop.who,
                        job.freeze.has_value() ? absl::StrCat(" while it was recovering: ", job.record.reason)
                                               : " before it started"));
  } else if (stop.now) {
    EndJob(env, job, JobState::kFailed, absl::StrCat("stopped at once by ", stop.who));
  } else if (job.record.state != JobState::kStopping) {
    job.record.state = JobState::kStopping;
    job.record.reason = job.record.request_reason = absl::StrCat("stop requested by ", stop.who);
    job.record.last_request = job.record.last_request.Next();
    job.record.last_request_kind = RequestKind::kStop;
    env.Store({job.record});
    env.Tell(job, JobEvent::Kind::kRequest, absl::StrCat(stop.who, " asks to stop at a step boundary"),
             job.record.step);
    env.SendToMembers(job, StepRequest{env.StampOf(job), job.record.last_request, RequestKind::kStop});
    TellState(env, job);
  }
  ReplyTo(env, stop.reply, absl::OkStatus(), job.name());
}

void StartWaiting(Env& env, JobTable& jobs) {
  std::vector<JobEntry*> waiting;
  for (auto& [name, job] : jobs) {
    const JobState state = job.record.state;
    if (state == JobState::kQueued || state == JobState::kRunning || state == JobState::kStopping ||
        job.freeze.has_value() || job.loss.has_value())
      waiting.push_back(&job);
  }
  std::sort(waiting.begin(), waiting.end(), [](const JobEntry* a, const JobEntry* b) {
    const auto order = [](const JobEntry* job) {
      const JobState state = job->record.state;
      return std::pair(job->freeze.has_value() ? 0 : state == JobState::kQueued ? 1 : 2, job->record.order);
    };
    return order(a) < order(b);
  });
  for (JobEntry* job : waiting) {
    if (job->freeze.has_value()) {
      GoOn(env, jobs, *job);
    } else if (job->record.state != JobState::kQueued) {
      ContinueChange(env, jobs, *job);
    } else if (std::optional<Placed> placed = Place(*job, IdleWorkers(jobs, env.workers, job))) {
      BeginGeneration(env, *job, *std::move(placed));
    }
  }
}

std::string QueueReason(const JobTable& jobs, const Membership& workers, const JobEntry& job) {
  const int least = std::max(job.config().ranks_min(), job.ranks_needed);
  const std::string wanted =
      absl::StrCat(least, least < job.config().ranks_max() ? " or more" : "", " idle ranks");
  return absl::StrCat("waits for ", WaitingText(wanted, job.record.device, IdleWorkers(jobs, workers, &job)));
}

void FailJob(Env& env, JobEntry& job, const std::string& reason) {
  EndJob(env, job, JobState::kFailed, reason);
}

void OnStarted(Env& env, JobEntry& job, const WorkerId& worker) {
  job.started.insert(worker);
  PlanRecord& first = job.plans.at(job.generation.plan);
  if (first.state != PlanState::kCommitted) return;  // known: said again after an attachment
  if (job.started.size() < job.processes.size()) return;
  job.settled_at = env.now.time;
  first.state = PlanState::kActive;
  first.switch_step = job.generation.start_step;
  job.rendezvous = Rendezvous();
  if (job.record.state == JobState::kStarting || job.record.state == JobState::kRecovering) {
    const bool stopping = job.record.last_request_kind == RequestKind::kStop;
    const bool changing = job.record.last_request_kind == RequestKind::kDrain;
    job.record.state = stopping ? JobState::kStopping : JobState::kRunning;
    // What was asked of the generation before is asked of this one too, for the same reason.
    job.record.reason = stopping || changing ? RequestReason(job) : "";
  }
  env.Store({job.record, first});
  TellState(env, job);
}

void OnFinished(Env& env, JobEntry& job, const WorkerId& worker, const Finished& message) {
  job.finished.insert(worker);
  job.stopped_early = job.stopped_early || message.stopped;
  if (!job.ranks_end.has_value()) job.ranks_end = RanksEnd{.step = message.step, .drained = message.drained};
  if (job.finished.size() == job.processes.size()) OnAllFinished(env, job);
}

void OnAllFinished(Env& env, JobEntry& job) {
  const RanksEnd& end = *job.ranks_end;
  job.record.step = std::max(job.record.step, end.step);
  // Who was asked for the manifest may have gone before this was known.
  const bool all_here = std::all_of(job.processes.begin(), job.processes.end(), [&](const auto& process) {
    return env.workers.StreamOf(process.first, process.second).value() > 0;
  });
  if (!all_here) PublishElsewhere(env, job);
  if (end.drained && job.record.state != JobState::kStopping) {
    job.drained_step = end.step;
    job.drain_deadline = env.now.time + env.options.drain_timeout;
    return;
  }
  job.stopped_early = job.stopped_early || end.drained;
  job.finished_step = end.step;
  if (!job.end_by.has_value()) job.end_by = env.now.time + env.options.staging_deadline;
  EndFinished(env, job);
}

void EndFinished(Env& env, JobEntry& job) {
  if (job.final() || !job.end_by.has_value()) return;
  if (CheckpointUnderWay(job)) {
    if (env.now.time < *job.end_by) return;
    env.Tell(job, JobEvent::Kind::kAlarm,
             absl::StrCat("the last checkpoint was not complete ", ToSeconds(env.options.staging_deadline),
                          " s after all ranks had finished"),
             job.record.step);
  }
  const std::string reason =
      job.stopped_early
          ? absl::StrCat("stopped after step ", job.finished_step.value(), ": ", job.record.reason)
          : "";
  EndJob(env, job, JobState::kSucceeded, reason);
}

void EndStopped(Env& env, JobEntry& job) {
  job.stopped_early = true;
  job.finished_step = job.drained_step;
  if (!job.end_by.has_value()) job.end_by = env.now.time + env.options.staging_deadline;
  EndFinished(env, job);
}

void OnRendezvousPut(Env& env, JobEntry& job, const RendezvousPut& message) {
  auto [it, added] = job.rendezvous.values.try_emplace(message.key, message.value);
  if (!added && it->second == message.value) return;  // said again after an attachment
  if (!added) {
    job.rendezvous.bytes -= it->second.size();
    it->second = message.value;
  } else {
    job.rendezvous.bytes += message.key.size();
  }
  job.rendezvous.bytes += message.value.size();
  if (job.rendezvous.bytes > env.options.rendezvous_bytes_max) {
    return FailJob(env, job,
                   absl::StrCat("rendezvous: ", job.rendezvous.bytes, " bytes, allowed ",
                                env.options.rendezvous_bytes_max));
  }
  env.SendToMembers(job, RendezvousValue{env.StampOf(job), message.key, message.value});
}

void WatchMembers(Env& env, JobEntry& job) {
  std::set<std::string> missing, gone, back;
  for (const Member& member : job.generation.members) {
    const bool attached = env.workers.StreamOf(member.worker, member.incarnation).value() > 0;
    if (attached || job.finished.count(member.worker) > 0) {
      job.detached.erase(member.worker);
      job.alarmed.erase(member.worker);
      if (job.unobserved.erase(member.worker) > 0 && attached) back.insert(member.worker.value());
      continue;
    }
    // After a change of leader nobody is here yet: that is no news.
    const WorkerEntry* known = env.workers.Find(member.worker);
    if (known != nullptr && known->hello.incarnation == member.incarnation &&
        job.unobserved.insert(member.worker).second)
      gone.insert(member.worker.value());
    const Time since = job.detached.try_emplace(member.worker, env.now.time).first->second;
    if (env.now.time < since + env.options.switch_alarm) continue;
    if (job.alarmed.insert(member.worker).second) missing.insert(member.worker.value());
  }
  if (!back.empty()) {
    env.Tell(job, JobEvent::Kind::kMember, absl::StrCat("attached again: ", FirstOf(back)), job.record.step);
  }
  if (!gone.empty()) {
    env.Tell(job, JobEvent::Kind::kMember, absl::StrCat("detached, unobserved from here on: ", FirstOf(gone)),
             job.record.step);
  }
  if (missing.empty()) return;
  env.Tell(job, JobEvent::Kind::kAlarm,
           absl::StrCat("job ", job.name().value(), ": detached for ", ToSeconds(env.options.switch_alarm),
                        " s: ", absl::StrJoin(missing, ", "),
                        "; if they are gone for good, end the job with `ballastctl job stop --now ",
                        job.name().value(), "`"),
           job.record.step);
}

TokenSampling SamplingOf(const JobEntry& job) {
  const JobConfig& config = job.config();
  const absl::StatusOr<PlannerPtr> planner = Planners().Find(config.planner.strategy);
  if (!planner.ok() || !(*planner)->traits().needs_tokens || job.topology.nodes() < 2) return {};
  return SamplingFor(config.model.layers, config.model.moe.top_k, config.data.sequence_length,
                     job.topology.ranks());
}

Assign AssignOf(const Env& env, const JobEntry& job) {
  return Assign{.stamp = env.StampOf(job),
                .job = job.record.config,
                .members = job.generation.members,
                .plan = job.plans.at(job.generation.plan).plan,
                .start_step = job.generation.start_step,
                .checkpoint = job.generation.checkpoint,
                .retained = job.generation.retained,
                .sampling = SamplingOf(job)};
}

void ResendJob(Env& env, const JobEntry& job, const WorkerEntry& worker) {
  const Stamp stamp = env.StampOf(job);
  if (worker.hello.job != job.name() || worker.hello.generation != job.record.generation)
    env.Send(worker.stream, AssignOf(env, job));
  for (const auto& [key, value] : job.rendezvous.values)
    env.Send(worker.stream, RendezvousValue{stamp, key, value});
  if (job.record.last_request_kind != RequestKind::kNone) {
    env.Send(worker.stream, StepRequest{stamp, job.record.last_request, job.record.last_request_kind});
  }
}

}  // namespace ballast
