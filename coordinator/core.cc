// Events that are not from workers; those are in core_workers.cc, the reads in core_reads.cc.
#include "coordinator/core.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/checkpoints.h"
#include "coordinator/core_state.h"
#include "coordinator/drain.h"
#include "coordinator/plans.h"
#include "coordinator/recovery.h"
#include "coordinator/rollout.h"

namespace ballast {

Core::Core(CoreOptions options) : state_(std::make_unique<State>(std::move(options))) {}
Core::~Core() = default;

Actions Core::Step(Now now, Event event) {
  Actions actions;
  if (state_->ended) return actions;
  Env env{now, state_->term, state_->options, state_->workers, actions};
  std::visit([&](auto& e) { state_->On(env, e); }, event);
  // Any event may have freed a worker or brought one.
  if (!state_->ended && state_->Leading().ok()) StartWaiting(env, state_->jobs);
  state_->look = std::move(env.look);
  return actions;
}

std::optional<PlannerLook> Core::TakeLook() { return std::exchange(state_->look, std::nullopt); }

void Core::State::On(Env& /*env*/, PlanTimed& event) {
  auto job = jobs.find(event.job);
  if (job != jobs.end()) job->second.pace.Observe(event.evaluations, event.seconds);
}

absl::Status Core::State::Leading() const {
  if (!refusing.empty()) {
    return absl::UnavailableError(
        absl::StrCat("this coordinator refuses to lead: ", refusing, "; `ballastctl adopt` makes it lead"));
  }
  if (term.value() == 0) return absl::UnavailableError("this coordinator does not lead yet");
  return absl::OkStatus();
}

void Core::State::ReplyError(Env& env, ReplyToken token, absl::Status status) {
  env.actions.push_back(
      Reply{.token = token, .status = std::move(status), .job = {}, .plan = {}, .text = {}, .term = term});
}

absl::StatusOr<JobEntry*> Core::State::Find(const JobId& name) {
  absl::Status leading = Leading();
  if (!leading.ok()) return leading;
  auto it = jobs.find(name);
  if (it == jobs.end()) return absl::NotFoundError(absl::StrCat("no job ", name.value()));
  return &it->second;
}

void Core::State::RefuseToLead(Env& env, const std::string& why) {
  if (!refusing.empty()) return;
  refusing = why;
  env.Log(absl::StrCat("refuses to lead: ", why), /*warning=*/true);
  // Asks the store whether another one leads: then this process ends here.
  env.Store({});
}

void Core::State::On(Env& env, LeadershipWon& event) {
  term = env.term = event.term;
  welcomed.clear();
  refusing.clear();
  jobs.clear();
  for (const JobRecord& record : event.contents.jobs) AddEntry(jobs, record, options);
  for (PlanRecord& record : event.contents.plans) {
    auto it = jobs.find(record.plan->stamp.job);
    if (it != jobs.end()) it->second.plans[record.plan->stamp.version] = std::move(record);
  }
  for (GenerationRecord& record : event.contents.generations) {
    auto it = jobs.find(record.job);
    if (it != jobs.end() && it->second.record.generation == record.generation)
      UseGeneration(it->second, std::move(record));
  }
  for (const WorkerRecord& record : event.contents.workers)
    workers.SetCordoned(record.worker, record.cordoned);
  for (CheckpointRecord& record : event.contents.checkpoints) {
    auto it = jobs.find(record.job);
    if (it != jobs.end()) it->second.checkpoints[{record.generation, record.step}] = std::move(record);
  }
  for (ExplanationRecord& record : event.contents.explanations) {
    auto it = jobs.find(record.job);
    if (it != jobs.end()) it->second.explanations[record.version] = std::move(record);
  }
  for (JobEvent& event : event.contents.events) {
    auto it = jobs.find(event.job);
    if (it != jobs.end()) it->second.events.Restore(std::move(event));
  }
  env.Log(absl::StrCat("leads with term ", term.value(), "; ", jobs.size(), " jobs in the store"));
  for (auto& [name, job] : jobs) {
    job.telemetry.Restore(job.record);
    for (StepReport& report : event.loads) {
      if (report.job == name) job.telemetry.RestoreLoad(std::move(report), job.record);
    }
    job.settled_at = env.now.time;
    if (job.final()) continue;
    env.Tell(job, JobEvent::Kind::kLeader, absl::StrCat("a coordinator leads with term ", term.value()),
             job.record.step);
    ResumeRecovery(env, job);
    if (!job.assigned()) continue;
    ResumeRollout(env, job);
    ContinueHomeMoves(env, job);
  }
  if (!adopt_reply.has_value()) return;
  // What these workers said in their Hellos is old by now: they attach again under the new term.
  std::vector<StreamId> streams;
  for (const auto& [name, worker] : workers.workers()) {
    if (worker.attached()) streams.push_back(worker.stream);
  }
  for (StreamId stream : streams) {
    workers.Detach(stream);
    env.actions.push_back(CloseStream{stream, "a new term begins"});
  }
  adopted = true;
  ReplyError(env, *std::exchange(adopt_reply, std::nullopt), absl::OkStatus());
}

void Core::State::On(Env& env, StoreFailed& event) {
  ended = true;
  const bool fenced = absl::IsFailedPrecondition(event.status);
  env.actions.push_back(Exit{absl::StrCat(fenced ? "another coordinator leads: " : "the store failed: ",
                                          std::string(event.status.message()))});
}

void Core::State::On(Env& env, SubmitJob& event) {
  absl::Status leading = Leading();
  if (!leading.ok()) return ReplyError(env, event.reply, leading);
  OnSubmit(env, jobs, event);
}

void Core::State::On(Env& env, RequestCheckpoint& event) {
  absl::StatusOr<JobEntry*> job = Find(event.job);
  if (!job.ok()) return ReplyError(env, event.reply, job.status());
  OnRequestCheckpoint(env, **job, event);
}

void Core::State::On(Env& env, StopJob& event) {
  absl::StatusOr<JobEntry*> job = Find(event.job);
  if (!job.ok()) return ReplyError(env, event.reply, job.status());
  OnStop(env, **job, event);
}

void Core::State::On(Env& env, PushPlan& event) {
  absl::StatusOr<JobEntry*> job = Find(event.job);
  if (!job.ok()) return ReplyError(env, event.reply, job.status());
  OnPush(env, **job, event);
}

void Core::State::On(Env& env, RollbackPlan& event) {
  absl::StatusOr<JobEntry*> job = Find(event.job);
  if (!job.ok()) return ReplyError(env, event.reply, job.status());
  OnRollback(env, **job, event);
}

void Core::State::On(Env& env, DrainWorker& event) {
  absl::Status leading = Leading();
  if (!leading.ok()) return ReplyError(env, event.reply, leading);
  OnDrain(env, jobs, event);
}

void Core::State::On(Env& env, CordonWorker& event) {
  absl::Status leading = Leading();
  if (!leading.ok()) return ReplyError(env, event.reply, leading);
  OnCordon(env, event);
}

void Core::State::On(Env& env, Adopt& event) {
  if (adopt_reply.has_value() || (refusing.empty() && term.value() > 0)) {
    return ReplyError(env, event.reply,
                      absl::FailedPreconditionError(
                          absl::StrCat("this coordinator leads already, with term ", term.value())));
  }
  if (term.value() == 0) return ReplyError(env, event.reply, Leading());
  env.Log(absl::StrCat(event.who, " adopts this store although ", refusing), /*warning=*/true);
  adopt_reply = event.reply;
  env.actions.push_back(AcquireLeadership{highest_seen});
}

void Core::State::On(Env& env, PlanMade& event) {
  absl::StatusOr<JobEntry*> job = Find(event.look.stamp.job);
  if (job.ok()) OnPlanMade(env, **job, event);
}

void Core::State::On(Env& env, Tick&) {
  if (!Leading().ok()) return;
  for (auto& [name, job] : jobs) {
    if (job.assigned() && !job.final()) {
      WatchMembers(env, job);
      OnTick(env, job);
      EndFinished(env, job);
    }
    env.StoreEvents(job);
  }
}

}  // namespace ballast
