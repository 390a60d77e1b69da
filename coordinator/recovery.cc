#include "coordinator/recovery.h"

#include <algorithm>
#include <cstdlib>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coordinator/checkpoints.h"
#include "coordinator/generation.h"
#include "coordinator/plans.h"
#include "coordinator/roll_forward.h"

namespace ballast {
namespace {

// A worker whose process lives attaches again within its longest back-off, 5 s: of one that stays away for
// three times as long, when no peer can speak of it any more, there is nothing more to wait for. Should it
// live after all, steps are trained again.
const Duration kAwayMax = Seconds(15);

// Recoveries that began from the checkpoint which the next one would begin from too, within the window.
std::vector<const RecoveryPoint*> WithoutProgress(const JobEntry& job, Step from, int64_t unix_ms) {
  std::vector<const RecoveryPoint*> points;
  for (const RecoveryPoint& point : job.record.recoveries) {
    // Also when the clock was set back: what lies further ahead than the window says nothing of now.
    if (point.from == from && std::abs(unix_ms - point.unix_ms) < job.config().recovery.window_s * 1000)
      points.push_back(&point);
  }
  return points;
}

std::string History(const std::vector<const RecoveryPoint*>& points) {
  return absl::StrJoin(points, "; ", [](std::string* out, const RecoveryPoint* point) {
    absl::StrAppend(out, "generation ", point->lost.value(), ": ", point->cause);
  });
}

using Process = std::pair<const WorkerId, Incarnation>;

bool IsOut(const Membership& workers, const Freeze& freeze, const Process& process) {
  const auto& [worker, incarnation] = process;
  if (freeze.frozen.count(worker) > 0 || freeze.gone.count(worker) > 0) return true;
  return freeze.reported.count(worker) > 0 && workers.StreamOf(worker, incarnation).value() == 0;
}

// Names of members.
std::vector<WorkerId> NotOut(const Membership& workers, const JobEntry& job) {
  std::vector<WorkerId> left;
  for (const Process& process : job.processes) {
    if (!IsOut(workers, *job.freeze, process)) left.push_back(process.first);
  }
  return left;
}

bool AllAttached(const Env& env, const JobEntry& job) {
  return std::all_of(job.processes.begin(), job.processes.end(), [&](const Process& process) {
    return env.workers.StreamOf(process.first, process.second).value() > 0;
  });
}

Abort AbortOf(const Env& env, const JobEntry& job, const std::string& reason) {
  const GenerationRecord& generation = job.generation;
  Abort abort{env.StampOf(job), reason, generation.retained, {}, {}};
  if (generation.retained.value() > 0) {
    abort.start_step = generation.start_step;
    abort.plan = generation.plan;
  }
  return abort;
}

const auto kName = [](std::string* out, const WorkerId& name) { out->append(name.value()); };

// Durable, then sent: the generation is over.
void FreezeAll(Env& env, JobEntry& job, const std::string& cause) {
  const PlanVersion dropped = job.in_flight.has_value() ? job.in_flight->version : PlanVersion();
  std::vector<RecordWrite> writes = EndGeneration(job, cause);
  job.record.state = JobState::kRecovering;
  job.record.reason = cause;
  writes.insert(writes.begin(), job.record);
  env.Store(std::move(writes));
  TellDropped(env, job, dropped);
  GiveUpLook(env, job);
  env.Tell(job, JobEvent::Kind::kRecovery,
           absl::StrCat("generation ", job.record.generation.value(), " ends: ", cause), job.record.step);
  job.freeze = Freeze{.deadline = env.now.time + env.options.freeze_timeout};
  if (job.loss.has_value()) job.freeze->reported = std::move(job.loss->reported);
  job.loss.reset();
  for (const auto& [name, incarnation] : job.processes) {
    const WorkerEntry* worker = env.workers.Find(name);
    if (worker != nullptr && worker->attached() && worker->hello.incarnation != incarnation)
      job.freeze->gone.insert(name);
  }
  env.SendToMembers(job, AbortOf(env, job, cause));
  TellState(env, job);
}

// A recovery, or the job's end when there were too many.
void EndByLoss(Env& env, JobEntry& job) {
  const std::string cause = job.loss->cause;
  // Where it would go on from; BeginGeneration knows better.
  const std::optional<CheckpointRef> checkpoint = CheckpointToLoad(job);
  Step from = checkpoint.has_value() ? checkpoint->step : Step(0);
  if (job.generation.retained.value() > 0) from = std::max(from, job.generation.start_step.Plus(-1));
  const std::vector<const RecoveryPoint*> earlier = WithoutProgress(job, from, env.now.unix_ms);
  const RecoveryConfig& config = job.config().recovery;
  if (static_cast<int>(earlier.size()) >= config.max_recoveries) {
    return FailJob(env, job,
                   earlier.empty()
                       ? cause
                       : absl::StrCat(cause, "; it has recovered ", earlier.size(), " times from step ",
                                      from.value(), " in the last ", config.window_s,
                                      " s (recovery.max_recoveries): ", History(earlier)));
  }
  job.record.recoveries.push_back({env.now.unix_ms, job.record.generation, from, cause});
  if (job.record.recoveries.size() > kRecoveriesMax)
    job.record.recoveries.erase(job.record.recoveries.begin());
  FreezeAll(env, job, cause);
}

}  // namespace

void BeginRecovery(Env& env, JobEntry& job, const std::string& cause, const std::optional<WorkerId>& lost) {
  if (job.freeze.has_value()) {
    if (lost.has_value()) job.freeze->reported.insert(*lost);
    return;
  }
  const bool first = !job.loss.has_value();
  if (first) job.loss = Loss{.cause = cause, .deadline = env.now.time + env.options.complete_timeout};
  if (lost.has_value()) job.loss->reported.insert(*lost);
  if (MayComplete(env, job, job.loss->reported)) {
    if (first) {
      env.Log(absl::StrCat("job ", job.name().value(), ": ", cause,
                           "; the generation ends when its checkpoint is complete"));
    }
    return PublishElsewhere(env, job);
  }
  EndByLoss(env, job);
}

void ContinueLoss(Env& env, JobEntry& job) {
  if (env.now.time < job.loss->deadline && MayComplete(env, job, job.loss->reported)) return;
  EndByLoss(env, job);
}

void ContinueEnd(Env& env, JobEntry& job) {
  if (!job.ranks_end.has_value() || job.loss.has_value() || job.finished.size() == job.processes.size())
    return;
  RanksEnd& end = *job.ranks_end;
  std::vector<WorkerId> away;
  for (const auto& [name, incarnation] : job.processes) {
    if (job.finished.count(name) > 0) continue;
    if (env.workers.StreamOf(name, incarnation).value() > 0) return end.away_since.reset();
    away.push_back(name);
  }
  const auto checkpoint = job.checkpoints.find({job.record.generation, end.step});
  if (checkpoint != job.checkpoints.end() && checkpoint->second.state != CheckpointState::kDropped) {
    // It has every member's part, and there is no step behind it.
    job.finished.insert(away.begin(), away.end());
    return OnAllFinished(env, job);
  }
  if (!end.away_since.has_value()) end.away_since = env.now.time;
  if (env.now.time < *end.away_since + kAwayMax) return;
  const std::string cause =
      absl::StrCat("detached for ", ToSeconds(kAwayMax), " s while all other ranks have ended behind step ",
                   end.step.value(), ": ", absl::StrJoin(away, ", ", kName));
  for (const WorkerId& name : away) {
    if (!job.final()) BeginRecovery(env, job, cause, name);
  }
}

void ChangeMembers(Env& env, JobEntry& job) { FreezeAll(env, job, RequestReason(job)); }

std::string RequestReason(const JobEntry& job) {
  if (!job.record.request_reason.empty()) return job.record.request_reason;
  // A store that was set back, or written by a version that did not keep it.
  return job.record.last_request_kind == RequestKind::kStop ? "a stop was requested"
                                                            : "all ranks have ended for a change of members";
}

void ResumeRecovery(Env& env, JobEntry& job) {
  if (job.record.state != JobState::kRecovering || job.assigned()) return;
  job.freeze = Freeze{.deadline = env.now.time + env.options.freeze_timeout};
}

void OnFrozen(Env& env, JobEntry& job, const WorkerEntry& worker, const Frozen& message) {
  if (!job.freeze.has_value() || message.incarnation != worker.hello.incarnation) return;
  if (Planted(env.options.bugs, PlantedBug::kFrozenByAnyone)) {
    for (const auto& [name, incarnation] : job.processes) job.freeze->frozen.try_emplace(name);
  }
  const WorkerId& name = worker.hello.worker;
  if (!job.IsMember(name, message.incarnation) || !job.freeze->frozen.emplace(name, message).second) return;
  env.Log(absl::StrCat("job ", job.name().value(), ": ", ToString(WorkerMessage(message)), " from ",
                       name.value()));
}

void OnMemberAttached(Env& env, JobEntry& job, const WorkerEntry& worker) {
  const WorkerId& name = worker.hello.worker;
  if (!job.freeze.has_value() || !job.IsMember(name)) return;
  if (!job.IsMember(name, worker.hello.incarnation)) {
    job.freeze->gone.insert(name);
  } else if (job.freeze->frozen.count(name) == 0 &&
             (worker.hello.job != job.name() || worker.hello.generation != job.record.generation)) {
    // It may not have heard of the generation yet, or of its end. One that is in it was told with the rest.
    env.Send(worker.stream, AbortOf(env, job, job.generation.reason));
  }
}

void OnReportedLost(JobEntry& job, const WorkerId& lost) {
  if (job.freeze.has_value()) job.freeze->reported.insert(lost);
}

void GoOn(Env& env, JobTable& jobs, JobEntry& job) {
  Freeze& freeze = *job.freeze;
  // Called for every answer of every member: the first one that is missing says enough.
  if (env.now.time < freeze.deadline &&
      std::any_of(
          job.processes.begin(), job.processes.end(),
          [&](const Process& process) { return !IsOut(env.workers, freeze, process); }))
    return;
  for (const WorkerId& name : NotOut(env.workers, job)) {
    if (freeze.frozen.empty() && freeze.gone.empty()) {
      if (std::exchange(freeze.alarmed, true)) return;
      return env.Tell(
          job, JobEvent::Kind::kAlarm,
          absl::StrCat(
              "job ", job.name().value(), ": no member of generation ", job.record.generation.value(),
              " answers, so they may train on: ", absl::StrJoin(NotOut(env.workers, job), ", ", kName),
              "; restart them, or end the job with `ballastctl job stop --now ", job.name().value(), "`"),
          job.record.step);
    }
    freeze.gone.insert(name);
    WorkerEntry* worker = env.workers.Find(name);
    if (worker != nullptr && job.IsMember(name, worker->hello.incarnation)) worker->silent = true;
    env.Log(absl::StrCat("job ", job.name().value(), ": worker ", name.value(), " did not leave generation ",
                         job.record.generation.value(), " within ", ToSeconds(env.options.freeze_timeout),
                         " s and is left behind"),
            /*warning=*/true);
  }
  const std::optional<CheckpointRef> checkpoint = CheckpointToLoad(job);
  const absl::StatusOr<RollForward> forward = DecideRollForward(
      job.generation, freeze.frozen, checkpoint.has_value() ? checkpoint->step : Step(0), env.options.bugs);
  // With that bug a drain goes on from its checkpoint, whatever there is of it.
  const bool parts =
      Planted(env.options.bugs, PlantedBug::kUnpublishedLoaded) && job.drained_step.value() > 0;
  if (forward.ok() && job.plans.count(forward->plan) > 0 && !parts) {
    if (AllAttached(env, job)) {
      return BeginGeneration(env, job, {job.generation.members, job.plans.at(forward->plan).plan->body},
                             *forward);
    }
    // A stream that broke comes back: worth the steps behind the checkpoint.
    if (env.now.time < freeze.deadline) return;
  }
  std::optional<Placed> placed = Place(job, IdleWorkers(jobs, env.workers, &job));
  if (placed.has_value()) {
    // When all are there, people may wonder why steps are trained again.
    if (!forward.ok() && freeze.frozen.size() == job.processes.size() && job.drained_step.value() == 0) {
      env.Log(absl::StrCat(
          "job ", job.name().value(), ": generation ", job.record.generation.value(),
          " is not gone on with from what its ranks hold: ", std::string(forward.status().message())));
    }
    absl::StatusOr<PlanBody> kept = KeptContent(job, placed->members);
    if (kept.ok()) {
      placed->body = *std::move(kept);
    } else {
      env.Log(absl::StrCat("job ", job.name().value(), ": experts are placed in contiguous runs: ",
                           std::string(kept.status().message())));
    }
    return BeginGeneration(env, job, *std::move(placed));
  }
  std::string waits = WaitsFor(jobs, env.workers, job);
  if (waits == freeze.told) return;
  freeze.told = waits;
  env.Tell(job, JobEvent::Kind::kAlarm,
           absl::StrCat("job ", job.name().value(), " is RECOVERING and ", waits), job.record.step);
}

std::string WaitsFor(const JobTable& jobs, const Membership& workers, const JobEntry& job) {
  const std::vector<WorkerId> left = NotOut(workers, job);
  if (!left.empty()) return absl::StrCat("waits for the answer of ", absl::StrJoin(left, ", ", kName));
  return QueueReason(jobs, workers, job);
}

}  // namespace ballast
