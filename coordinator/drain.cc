#include "coordinator/drain.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/device_kind.h"
#include "coordinator/generation.h"
#include "coordinator/recovery.h"

namespace ballast {
namespace {

JobEntry* JobOf(JobTable& jobs, const WorkerId& worker) {
  for (auto& [name, job] : jobs) {
    if (!job.final() && job.assigned() && job.IsMember(worker)) return &job;
  }
  return nullptr;
}

// Why the job's members cannot be changed at a step boundary now.
absl::Status MayChange(const JobEntry& job) {
  if (job.config().checkpoint.path.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "job ", job.name().value(),
        " has no checkpoint.path: its ranks cannot be moved without a checkpoint; stop the worker, and "
        "the job begins anew, or stop the job"));
  }
  if (job.record.state != JobState::kRunning) {
    return absl::FailedPreconditionError(
        absl::StrCat("job ", job.name().value(), " is ", ToString(job.record.state), ", not RUNNING"));
  }
  return absl::OkStatus();
}

// All ranks: checkpoint and end after one step.
void RequestChange(Env& env, JobEntry& job, const std::string& reason) {
  job.record.reason = job.record.request_reason = reason;
  job.record.last_request = job.record.last_request.Next();
  job.record.last_request_kind = RequestKind::kDrain;
  env.Store({job.record});
  env.SendToMembers(job, StepRequest{env.StampOf(job), job.record.last_request, RequestKind::kDrain});
  env.Tell(job, JobEvent::Kind::kRequest, absl::StrCat(reason, ": the next generation follows"),
           job.record.step);
}

bool Changing(const JobEntry& job) { return job.record.last_request_kind == RequestKind::kDrain; }

void Answer(Env& env, ReplyToken token, absl::Status status) {
  env.actions.push_back(Reply{
      .token = token, .status = std::move(status), .job = {}, .plan = {}, .text = {}, .term = env.term});
}

absl::Status Known(const Env& env, const WorkerId& worker) {
  if (env.workers.Find(worker) != nullptr) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("no worker ", worker.value()));
}

// The job has enough ranks without `worker`.
absl::Status FitsWithout(Env& env, const JobTable& jobs, JobEntry& job, const WorkerId& worker) {
  std::vector<const WorkerEntry*> others = IdleWorkers(jobs, env.workers, &job);
  std::erase_if(others, [&](const WorkerEntry* other) { return other->hello.worker == worker; });
  if (Place(job, others).has_value()) return absl::OkStatus();
  const std::string& kind = job.record.device;
  return absl::FailedPreconditionError(absl::StrCat("job ", job.name().value(), " needs ", RanksNeeded(job),
                                                    " ranks", kind.empty() ? "" : absl::StrCat(" of ", kind),
                                                    "; without worker ", worker.value(), " it has ",
                                                    RanksOf(ByKind(others, kind))));
}

void Cordon(Env& env, const WorkerId& worker, bool cordoned) {
  if (env.workers.cordoned(worker) == cordoned) return;
  env.workers.SetCordoned(worker, cordoned);
  env.Store({WorkerRecord{worker, cordoned}});
}

// Why one of the members has to go; empty = none has.
std::string Leaver(const Env& env, const JobEntry& job) {
  // Asked after every event: the members are many, those that leave are few.
  for (const WorkerId& name : env.workers.leaving()) {
    const WorkerEntry* worker = env.workers.Find(name);
    const auto member = job.processes.find(name);
    if (member == job.processes.end() || worker->hello.incarnation != member->second) continue;
    return absl::StrCat("worker ", name.value(), " leaves: ", worker->leaving);
  }
  return "";
}

}  // namespace

void OnDrain(Env& env, JobTable& jobs, const DrainWorker& drain) {
  absl::Status status = Known(env, drain.worker);
  JobEntry* job = JobOf(jobs, drain.worker);
  if (status.ok() && job != nullptr && !Changing(*job)) status = MayChange(*job);
  if (status.ok() && job != nullptr) status = FitsWithout(env, jobs, *job, drain.worker);
  if (status.ok()) {
    Cordon(env, drain.worker, true);
    env.Log(absl::StrCat("worker ", drain.worker.value(), " is drained by ", drain.who));
    // One change serves all: the next generation is placed without any worker that is cordoned by then.
    if (job != nullptr && !Changing(*job)) {
      RequestChange(env, *job, absl::StrCat("worker ", drain.worker.value(), " is drained by ", drain.who));
    }
  }
  Answer(env, drain.reply, status);
}

void OnCordon(Env& env, const CordonWorker& cordon) {
  absl::Status status = Known(env, cordon.worker);
  if (status.ok()) {
    Cordon(env, cordon.worker, cordon.cordon);
    env.Log(absl::StrCat("worker ", cordon.worker.value(),
                         cordon.cordon ? " is cordoned by " : " is uncordoned by ", cordon.who));
  }
  Answer(env, cordon.reply, status);
}

void OnLeaving(Env& env, WorkerEntry& worker, const Leaving& message) {
  if (message.incarnation != worker.hello.incarnation || !worker.leaving.empty()) return;
  env.workers.SetLeaving(worker, message.reason.empty() ? "no reason given" : message.reason);
  env.Log(absl::StrCat("worker ", worker.hello.worker.value(), " wants to leave: ", worker.leaving));
}

void ContinueChange(Env& env, JobTable& jobs, JobEntry& job) {
  if (!job.assigned()) return;
  ContinueEnd(env, job);
  if (!job.assigned()) return;
  // A stop that came while the ranks were ending for a change has nothing more to end.
  if (job.record.state == JobState::kStopping && job.drained_step.value() > 0) return EndStopped(env, job);
  const CheckpointRecord* newest = job.newest_checkpoint();
  const bool drained = job.record.state == JobState::kRunning && job.drained_step.value() > 0;
  const bool complete = drained && newest != nullptr && newest->generation == job.record.generation &&
                        newest->step == job.drained_step;
  if (complete || (drained && Planted(env.options.bugs, PlantedBug::kUnpublishedLoaded)))
    return ChangeMembers(env, job);
  if (job.loss.has_value()) return ContinueLoss(env, job);
  if (job.record.state != JobState::kRunning) return;
  // A store that was set back may not know of the request that the ranks have carried out.
  if (Changing(job) || drained) {
    if (!drained) return;
    if (env.now.time < job.drain_deadline) return;
    return BeginRecovery(
        env, job,
        absl::StrCat(RequestReason(job), "; the checkpoint after step ", job.drained_step.value(),
                     " was not complete within ", ToSeconds(env.options.drain_timeout), " s"),
        std::nullopt);
  }
  const std::string leaver = Leaver(env, job);
  if (!leaver.empty()) {
    if (MayChange(job).ok()) return RequestChange(env, job, leaver);
    // Without checkpoints there is nothing to wait for.
    return BeginRecovery(env, job, leaver, std::nullopt);
  }
  // More ranks than it has: not while a plan is on its way, nor right after the last change.
  const int ranks = static_cast<int>(job.generation.members.size());
  if (ranks >= job.config().ranks_max() || job.in_flight.has_value() || !MayChange(job).ok()) return;
  if (env.now.time < job.settled_at + env.options.scale_out_after) return;
  if (ByKind(IdleWorkers(jobs, env.workers, nullptr), job.record.device).empty()) return;
  std::vector<const WorkerEntry*> all = IdleWorkers(jobs, env.workers, &job);
  const std::optional<Placed> placed = Place(job, all);
  if (!placed.has_value() || static_cast<int>(placed->members.size()) <= ranks) return;
  RequestChange(env, job,
                absl::StrCat("from ", ranks, " to ", placed->members.size(), " ranks, which are there now"));
}

}  // namespace ballast
