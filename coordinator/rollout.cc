#include "coordinator/rollout.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "coordinator/checkpoints.h"
#include "coordinator/plan_account.h"
#include "plan/diff.h"

namespace ballast {
namespace {

// Only members' answers are counted.
bool AllStaged(const JobEntry& job) { return job.in_flight->staged.size() == job.processes.size(); }

// "w1, w2": the members that are not in `answered`.
template <class Answered>
std::string Missing(const Env& env, const JobEntry& job, const Answered& answered) {
  std::set<std::string> names;
  for (const Member& member : job.generation.members) {
    if (answered.count(member.worker) > 0) continue;
    const bool attached = env.workers.StreamOf(member.worker, member.incarnation).value() > 0;
    names.insert(absl::StrCat(member.worker.value(), attached ? "" : " (detached)"));
  }
  return absl::StrJoin(names, ", ");
}

PlanRecord& InFlightRecord(JobEntry& job) { return job.plans.at(job.in_flight->version); }

// A member that has staged a plan which is not going to be committed must hear so again: the first Withdraw
// was lost, or overtaken by the Stage.
void WithdrawIfAborted(Env& env, const JobEntry& job, const WorkerEntry& worker, PlanVersion version,
                       PlanDigest digest) {
  auto it = job.plans.find(version);
  if (it == job.plans.end() || it->second.state != PlanState::kAborted) return;
  env.Send(worker.stream, Withdraw{env.StampOf(job), version, digest});
}

void SendCommit(Env& env, JobEntry& job) {
  const PlanRecord& record = InFlightRecord(job);
  env.SendToMembers(job, Commit{env.StampOf(job), job.in_flight->version, record.digest,
                                job.in_flight->planted_not_before});
}

void CommitPlan(Env& env, JobEntry& job) {
  PlanRecord& record = InFlightRecord(job);
  job.in_flight->committed = true;
  job.in_flight->deadline = env.now.time + env.options.switch_alarm;
  record.state = PlanState::kCommitted;
  ++job.record.plans_committed;
  if (Planted(env.options.bugs, PlantedBug::kCommitBeforeStore)) SendCommit(env, job);
  env.Store({job.record, record});
  if (!Planted(env.options.bugs, PlantedBug::kCommitBeforeStore)) SendCommit(env, job);
  env.Tell(job, JobEvent::Kind::kPlan,
           absl::StrCat("plan ", record.plan->stamp.version.value(), " committed"), job.record.step,
           record.plan->stamp.version);
}

void AbortPlan(Env& env, JobEntry& job, const std::string& why, bool rejected) {
  PlanRecord& record = InFlightRecord(job);
  const PlanVersion version = job.in_flight->version;
  const CoordinatorMessage withdraw = Withdraw{env.StampOf(job), version, record.digest};
  record.state = PlanState::kAborted;
  record.outcome = why;
  record.rejected = rejected;
  if (rejected) job.rejected[ContentDigest(record.plan->body)] = why;
  job.record.wanted_homes.clear();
  job.in_flight.reset();
  job.planner_rests_until = env.now.time + env.options.cool_down;
  if (Planted(env.options.bugs, PlantedBug::kWithdrawBeforeAborted)) env.SendToMembers(job, withdraw);
  env.Store({job.record, record});
  if (!Planted(env.options.bugs, PlantedBug::kWithdrawBeforeAborted)) env.SendToMembers(job, withdraw);
  env.Tell(job, JobEvent::Kind::kPlan, absl::StrCat("plan ", version.value(), " aborted: ", why),
           job.record.step, version);
}

void FinishSwitch(Env& env, JobEntry& job, Step switch_step) {
  PlanRecord& record = InFlightRecord(job);
  record.state = PlanState::kActive;
  record.switch_step = switch_step;
  // Nothing more is measured of the plan that was active.
  std::vector<RecordWrite> measured = CompleteMeasure(job);
  job.record.active = record.plan->stamp.version;
  job.record.slot_writes += record.slot_writes;
  job.in_flight.reset();
  measured.insert(measured.begin(), {job.record, record});
  env.Store(std::move(measured));
  std::string text =
      absl::StrCat("step ", switch_step.value(), ": plan ", record.plan->stamp.version.value(),
                   " active: ", record.slot_writes, record.slot_writes == 1 ? " slot write" : " slot writes");
  if (record.home_moves > 0) {
    absl::StrAppend(&text, ", ", record.home_moves, record.home_moves == 1 ? " home move" : " home moves");
  }
  if (record.imbalance_before > 0) {
    absl::StrAppend(
        &text, absl::StrFormat(", imbalance %.2f -> %.2f", record.imbalance_before, record.imbalance_after));
  }
  env.Tell(job, JobEvent::Kind::kPlan, text, switch_step, job.record.active);
}

}  // namespace

PlanDigest ContentDigest(const PlanBody& body) {
  Plan plan{PlanStamp{}, body};
  plan.body.reason.clear();
  plan.body.predicted_step_seconds = 0;
  return Digest(plan);
}

absl::Status MayPropose(const JobEntry& job, const CoreOptions& options) {
  if (job.record.state != JobState::kRunning) {
    return absl::FailedPreconditionError(absl::StrCat("job ", job.name().value(), " is ",
                                                      ToString(job.record.state),
                                                      "; plans can be pushed to a RUNNING job"));
  }
  if (job.loss.has_value()) {
    return absl::FailedPreconditionError(
        absl::StrCat("job ", job.name().value(), " is about to recover: ", job.loss->cause));
  }
  if (job.record.last_request_kind == RequestKind::kDrain) {
    return absl::FailedPreconditionError(
        absl::StrCat("job ", job.name().value(), " is about to go on with other members"));
  }
  const bool overlap = Planted(options.bugs, PlantedBug::kStageWhilePending) && job.in_flight.has_value() &&
                       job.in_flight->committed;
  if (job.in_flight.has_value() && !overlap) {
    return absl::FailedPreconditionError(absl::StrCat(
        "plan ", job.in_flight->version.value(), " is ", ToString(job.plans.at(job.in_flight->version).state),
        " and not active on every rank yet; one plan at a time"));
  }
  return absl::OkStatus();
}

PlanVersion Propose(Env& env, JobEntry& job, NewPlan next) {
  const PlanDiff diff = Diff(job.active().plan->body, next.body, job.layout);
  const PlanVersion version = job.record.last_version.Next();
  const bool planted = Planted(env.options.bugs, PlantedBug::kNotBeforeInCommit);
  auto plan = std::make_shared<Plan>();
  plan->stamp = PlanStamp{.job = job.name(),
                          .generation = job.record.generation,
                          .version = version,
                          .base_version = job.record.active,
                          .not_before_step = planted ? Step() : next.not_before_step};
  plan->body = std::move(next.body);

  PlanRecord record;
  record.plan = plan;
  record.digest = Digest(*plan);
  record.state = PlanState::kProposed;
  record.origin = next.origin;
  record.slot_writes = static_cast<int64_t>(diff.slot_writes.size());
  record.home_moves = static_cast<int64_t>(diff.home_moves.size());
  for (int64_t bytes : diff.home_bytes_in) record.home_bytes += bytes;
  record.imbalance_before = next.imbalance_before;
  record.imbalance_after = next.imbalance_after;
  record.imbalance_bound = next.imbalance_bound;
  record.slot_bytes = SlotBytes(job, record.slot_writes);
  record.proposed_unix_ms = env.now.unix_ms;

  job.record.last_version = version;
  job.record.wanted_homes = std::move(next.wanted_homes);
  job.in_flight = InFlight{.version = version,
                           .committed = false,
                           .deadline = env.now.time + env.options.staging_deadline,
                           .alarmed = false,
                           .staged = {},
                           .active = {},
                           .planted_not_before = planted ? next.not_before_step : Step()};
  env.Store({job.record, record,
             KeepExplanation(job, ExplanationRecord{job.name(), version, next.explanation, {}})});
  job.plans[version] = record;
  // The planner's reason says what changes.
  const std::string what = record.origin == PlanOrigin::kPlanner ? "" : absl::StrCat(diff.Summary(), "; ");
  env.Tell(job, JobEvent::Kind::kPlan,
           absl::StrCat("plan ", version.value(), " proposed: ", what, plan->body.reason), job.record.step,
           version);
  env.SendToMembers(job, Stage{env.StampOf(job), plan});
  return version;
}

void OnStaged(Env& env, JobEntry& job, const WorkerEntry& worker, const Staged& message) {
  WithdrawIfAborted(env, job, worker, message.version, message.digest);
  if (!job.in_flight.has_value() || job.in_flight->committed || job.in_flight->version != message.version)
    return;
  const bool old_counts = Planted(env.options.bugs, PlantedBug::kWithdrawBeforeAborted);
  if (message.stamp.term != env.term && !old_counts) return;
  if (message.incarnation != worker.hello.incarnation) return;
  if (message.digest != InFlightRecord(job).digest &&
      !Planted(env.options.bugs, PlantedBug::kDigestUnchecked))
    return;
  job.in_flight->staged.insert(worker.hello.worker);
  if (AllStaged(job)) CommitPlan(env, job);
}

void OnRejected(Env& env, JobEntry& job, const WorkerEntry& worker, const Rejected& message) {
  if (!job.in_flight.has_value() || job.in_flight->version != message.version) return;
  if (message.stamp.term != env.term || message.incarnation != worker.hello.incarnation) return;
  if (message.digest != InFlightRecord(job).digest) return;
  const std::string why =
      absl::StrCat("worker ", worker.hello.worker.value(), " refused it: ", message.reason);
  if (job.in_flight->committed) {
    // It had promised to run the plan, or the plan would not be committed.
    env.Tell(job, JobEvent::Kind::kAlarm,
             absl::StrCat("plan ", message.version.value(), " is committed, but ", why), job.record.step,
             message.version);
    return;
  }
  AbortPlan(env, job, why, /*rejected=*/message.lasting);
}

std::string OnActive(Env& env, JobEntry& job, const WorkerEntry& worker, const Active& message,
                     bool& behind) {
  if (message.incarnation != worker.hello.incarnation) return "";
  if (!job.in_flight.has_value() || job.in_flight->version != message.version) return "";
  if (!job.in_flight->committed) {
    behind = true;
    return "";
  }
  std::map<WorkerId, Step>& active = job.in_flight->active;
  for (const auto& [other, step] : active) {
    if (step == message.switch_step) continue;
    return absl::StrCat("workers ", other.value(), " and ", worker.hello.worker.value(), " switched to plan ",
                        message.version.value(), " at steps ", step.value(), " and ",
                        message.switch_step.value());
  }
  active[worker.hello.worker] = message.switch_step;
  if (active.size() == job.processes.size()) FinishSwitch(env, job, message.switch_step);
  return "";
}

void ResendPlans(Env& env, JobEntry& job, const WorkerEntry& worker) {
  const Hello& hello = worker.hello;
  const bool in_flight = job.in_flight.has_value();
  if (hello.staged.value() > 0 && !(in_flight && hello.staged == job.in_flight->version)) {
    WithdrawIfAborted(env, job, worker, hello.staged, hello.staged_digest);
  }
  if (!in_flight) return;
  // To a member that runs the plan already, this is the question for its switch step.
  const PlanRecord& record = InFlightRecord(job);
  env.Send(worker.stream, Stage{env.StampOf(job), record.plan});
  if (!job.in_flight->committed) return;
  env.Send(worker.stream, Commit{env.StampOf(job), job.in_flight->version, record.digest,
                                 job.in_flight->planted_not_before});
}

void OnTick(Env& env, JobEntry& job) {
  if (!job.in_flight.has_value()) return;
  const int64_t not_before = InFlightRecord(job).plan->stamp.not_before_step.value();
  if (job.in_flight->committed && job.record.step.value() + 1 < not_before) {
    // It waits for its step, as it was told to: the alarm's time counts from there.
    job.in_flight->deadline = env.now.time + env.options.switch_alarm;
    return;
  }
  if (env.now.time < job.in_flight->deadline) return;
  if (!job.in_flight->committed) {
    const std::string missing = Missing(env, job, job.in_flight->staged);
    AbortPlan(env, job,
              absl::StrCat("not staged within ", ToSeconds(env.options.staging_deadline), " s by ", missing),
              /*rejected=*/false);
    return;
  }
  if (job.in_flight->alarmed) return;
  job.in_flight->alarmed = true;
  env.Tell(job, JobEvent::Kind::kAlarm,
           absl::StrCat("plan ", job.in_flight->version.value(), " is committed for ",
                        ToSeconds(env.options.switch_alarm), " s and not active on ",
                        Missing(env, job, job.in_flight->active)),
           job.record.step, job.in_flight->version);
}

void ResumeRollout(Env& env, JobEntry& job) {
  for (auto& [version, record] : job.plans) {
    if (record.rejected && record.plan->stamp.generation == job.record.generation) {
      job.rejected[ContentDigest(record.plan->body)] = record.outcome;
    }
    if (version == job.generation.plan || record.plan->stamp.generation != job.record.generation) continue;
    const bool again = Planted(env.options.bugs, PlantedBug::kAbortedStagedAgain) &&
                       record.state == PlanState::kAborted && version == job.record.last_version;
    if (record.state != PlanState::kProposed && record.state != PlanState::kCommitted && !again) continue;
    const bool committed = record.state == PlanState::kCommitted;
    if (!committed && Planted(env.options.bugs, PlantedBug::kDigestUnchecked)) {
      auto changed = std::make_shared<Plan>(*record.plan);
      changed->body.reason += " (proposed again)";
      record.plan = changed;
      record.digest = Digest(*changed);
      env.Store({record});
    }
    InFlight in_flight;
    in_flight.version = version;
    in_flight.committed = committed;
    in_flight.deadline = env.now.time + (committed ? env.options.switch_alarm : env.options.staging_deadline);
    job.in_flight = in_flight;
  }
}

std::vector<RecordWrite> EndRollout(JobEntry& job, const std::string& reason) {
  std::vector<RecordWrite> writes = EndCheckpoints(job);
  if (!job.in_flight.has_value()) return writes;
  PlanRecord& record = InFlightRecord(job);
  record.state = job.in_flight->committed ? PlanState::kSuperseded : PlanState::kAborted;
  record.outcome = reason;
  job.in_flight.reset();
  writes.push_back(record);
  return writes;
}

}  // namespace ballast
