// Events from workers.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/checkpoints.h"
#include "coordinator/core_state.h"
#include "coordinator/device_kind.h"
#include "coordinator/drain.h"
#include "coordinator/plan_account.h"
#include "coordinator/plans.h"
#include "coordinator/recovery.h"
#include "coordinator/rollout.h"

namespace ballast {
namespace {

// Null when the generation has no such rank.
const Member* MemberOf(const JobEntry& job, Rank rank) {
  const std::vector<Member>& members = job.generation.members;
  return rank.value() >= 0 && rank.index() < members.size() ? &members[rank.index()] : nullptr;
}

// False when it was refused or known.
bool OnStepReport(Env& env, JobEntry& job, WorkerEntry& worker, const StepReport& report) {
  const auto plan = job.plans.find(report.plan);
  const bool known =
      plan != job.plans.end() && plan->second.plan->body.speeds.size() == job.generation.members.size();
  const absl::StatusOr<StepPoint> point =
      job.telemetry.OnReport(report, job.record, known ? &plan->second.plan->body.speeds : nullptr);
  if (point.ok()) {
    worker.step = std::max(worker.step, point->step);
    env.actions.push_back(Publish{StepEvent{job.name(), *point}});
    return true;
  }
  if (!absl::IsAlreadyExists(point.status())) {
    job.telemetry.CountRejected();
    env.Log(absl::StrCat("worker ", worker.hello.worker.value(), ": report of step ", report.step.value(),
                         ": ", std::string(point.status().message())),
            /*warning=*/true);
  }
  return false;
}

// What the worker's Hello says of the generation that this store knows of `job`, and that this store cannot
// have led to; empty when there is nothing.
std::string AheadOf(const JobEntry& job, const Hello& hello) {
  const std::string who = absl::StrCat("worker ", hello.worker.value());
  if (!job.final() && !job.IsMember(hello.worker, hello.incarnation)) {
    return absl::StrCat(who, " is in generation ", hello.generation.value(), " of job ", hello.job.value(),
                        ", which this store gave to other processes");
  }
  const PlanVersion newest = std::max({hello.active, hello.staged, hello.committed});
  if (newest > job.record.last_version) {
    return absl::StrCat(who, " runs or holds plan ", newest.value(), " of job ", hello.job.value(),
                        ", this store knows ", job.record.last_version.value());
  }
  // A Commit leaves only after COMMITTED is durable.
  const auto plan = job.plans.find(std::max(hello.active, hello.committed));
  if (plan != job.plans.end() &&
      (plan->second.state == PlanState::kProposed || plan->second.state == PlanState::kAborted)) {
    return absl::StrCat(who, " has the Commit of plan ", plan->first.value(), " of job ", hello.job.value(),
                        ", which is ", ToString(plan->second.state), " in this store");
  }
  return "";
}

}  // namespace

std::string Core::State::Contradiction(const Hello& hello) const {
  if (Planted(options.bugs, PlantedBug::kOlderStoreLeads)) return "";
  const std::string who = absl::StrCat("worker ", hello.worker.value());
  if (hello.highest_term > term) {
    return absl::StrCat(who, " has seen term ", hello.highest_term.value(), ", this store knows ",
                        term.value());
  }
  // A worker hears of a term from its leader alone: another one has had this term, on a newer store.
  if (!adopted && hello.highest_term == term && welcomed.count({hello.worker, hello.incarnation}) == 0) {
    return absl::StrCat(who, " has seen term ", term.value(), " of another coordinator");
  }
  if (hello.job.empty() || adopted) return "";
  auto it = jobs.find(hello.job);
  const Generation known = it == jobs.end() ? Generation() : it->second.record.generation;
  if (hello.generation > known) {
    return absl::StrCat(who, " is in generation ", hello.generation.value(), " of job ", hello.job.value(),
                        ", this store knows ", known.value());
  }
  if (hello.generation < known) return "";
  return AheadOf(it->second, hello);
}

void Core::State::On(Env& env, WorkerAttached& event) {
  highest_seen = std::max(highest_seen, event.hello.highest_term);
  if (term.value() > 0 && refusing.empty()) {
    const std::string contradiction = Contradiction(event.hello);
    if (!contradiction.empty()) RefuseToLead(env, contradiction);
  }
  absl::Status leading = Leading();
  if (!leading.ok()) return env.Send(event.stream, Refused{std::string(leading.message()), /*retry=*/true});
  Membership::Admission admission = workers.Attach(event.stream, event.hello);
  if (!admission.refusal.empty()) {
    env.Log(absl::StrCat("refused worker ", event.hello.worker.value(), ": ", admission.refusal),
            /*warning=*/true);
    return env.Send(event.stream, Refused{admission.refusal, admission.retry});
  }
  if (admission.replaced.value() > 0) {
    env.actions.push_back(CloseStream{admission.replaced, "the worker attached again"});
  }
  const WorkerEntry& worker = *workers.Find(event.hello.worker);
  env.Log(absl::StrCat("attached: ", ToString(WorkerMessage(event.hello))));
  env.Send(event.stream, Welcome{term});
  welcomed.insert({event.hello.worker, event.hello.incarnation});
  Resync(env, worker);
}

void Core::State::Resync(Env& env, const WorkerEntry& worker) {
  const Hello& hello = worker.hello;
  JobEntry* mine = nullptr;  // the job this worker belongs to
  for (auto& [name, job] : jobs) {
    if (!job.final() && job.assigned() && job.IsMember(hello.worker)) mine = &job;
    // A version that did not know of kinds began it: its members say which it was.
    if (job.record.device.empty() && job.IsMember(hello.worker)) job.record.device = DeviceKind(hello);
  }
  const bool same_run =
      mine != nullptr && hello.job == mine->name() && hello.generation == mine->record.generation;
  if (!hello.job.empty() && !same_run) {
    auto it = jobs.find(hello.job);
    env.Send(worker.stream, Abort{.stamp = {term, hello.job, hello.generation},
                                  .reason = "this generation of the job is over",
                                  .job_ended = it != jobs.end() && it->second.final()});
    if (it != jobs.end() && !it->second.final() && hello.generation > it->second.record.generation) {
      // Only after adopt: what this store says of the job is older than what the workers did.
      FailJob(env, it->second,
              absl::StrCat("worker ", hello.worker.value(), " was in generation ", hello.generation.value(),
                           ", which the adopted store does not know"));
      if (mine == &it->second) return;
    }
  }
  if (mine == nullptr) {
    for (auto& [name, job] : jobs) OnMemberAttached(env, job, worker);
    return;
  }
  if (!mine->IsMember(hello.worker, hello.incarnation)) {
    BeginRecovery(env, *mine, absl::StrCat("worker ", hello.worker.value(), " was restarted"), std::nullopt);
    return OnMemberAttached(env, *mine, worker);
  }
  if (adopted && same_run) {
    // The store is right: what it does not know of ends with the generation, and no version is given twice.
    const std::string ahead = AheadOf(*mine, hello);
    if (!ahead.empty()) {
      mine->record.last_version =
          std::max({mine->record.last_version, hello.active, hello.staged, hello.committed});
      return BeginRecovery(env, *mine, absl::StrCat("after adopt: ", ahead), std::nullopt);
    }
  }
  ResendJob(env, *mine, worker);
  ResendPlans(env, *mine, worker);
  ResendCheckpoints(env, *mine, worker);
}

void Core::State::On(Env& env, StreamClosed& event) {
  const WorkerEntry* worker = workers.Detach(event.stream);
  if (worker == nullptr) return;
  // It may train on without us: nothing but its peers or its next incarnation says that it is gone.
  env.Log(absl::StrCat("detached: worker ", worker->hello.worker.value()));
  for (auto& [name, job] : jobs) {
    // When the ranks have ended, no peer says that it is gone, and none but another member completes what it
    // was asked to.
    if (job.loss.has_value() || job.drained_step.value() > 0 || job.end_by.has_value())
      PublishElsewhere(env, job);
  }
  if (!Planted(options.bugs, PlantedBug::kDetachedIsLost)) return;
  for (auto& [name, job] : jobs) {
    if (job.assigned() && !job.final() && job.IsMember(worker->hello.worker))
      BeginRecovery(env, job, "a stream closed", worker->hello.worker);
  }
}

void Core::State::On(Env& env, WorkerSaid& event) {
  WorkerEntry* worker = workers.OfStream(event.stream);
  if (worker == nullptr || !Leading().ok()) return;
  worker->silent = false;
  if (const auto* leaving = std::get_if<Leaving>(&event.message)) return OnLeaving(env, *worker, *leaving);
  const JobId* name = nullptr;
  Generation generation;
  std::visit(
      [&](const auto& m) {
        if constexpr (requires { m.stamp; }) {
          name = &m.stamp.job;
          generation = m.stamp.generation;
        } else if constexpr (requires {
                               m.job;
                               m.generation;
                             } && !std::is_same_v<std::decay_t<decltype(m)>, Hello>) {  // reports
          name = &m.job;
          generation = m.generation;
        }
      },
      event.message);
  if (name == nullptr) return;  // a second Hello on one stream says nothing
  auto it = jobs.find(*name);
  if (it == jobs.end() || it->second.final()) return;
  JobEntry& job = it->second;
  if (!job.assigned() && !job.freeze.has_value()) return;
  const bool any_frozen =
      Planted(options.bugs, PlantedBug::kFrozenByAnyone) && std::holds_alternative<Frozen>(event.message);
  if ((generation != job.record.generation && !any_frozen) || !job.IsMember(worker->hello.worker)) return;
  OnMemberSaid(env, job, *worker, event.message);
}

void Core::State::OnMemberSaid(Env& env, JobEntry& job, WorkerEntry& worker, const WorkerMessage& message) {
  const std::string who = absl::StrCat("worker ", worker.hello.worker.value());
  if (job.freeze.has_value()) {
    if (const auto* frozen = std::get_if<Frozen>(&message)) OnFrozen(env, job, worker, *frozen);
    // Of the steps that count whatever comes next; ForgetAfter drops those that do not.
    if (const auto* report = std::get_if<StepReport>(&message)) OnStepReport(env, job, worker, *report);
    if (const auto* lost = std::get_if<LostPeer>(&message)) {
      if (const Member* peer = MemberOf(job, lost->rank)) OnReportedLost(job, peer->worker);
    }
    return;
  }
  if (const auto* frozen = std::get_if<Frozen>(&message)) {
    // Only an Abort makes a worker say so, and that leaves when the end of the generation is durable.
    const bool member = job.IsMember(worker.hello.worker, frozen->incarnation);
    if (!member || Planted(options.bugs, PlantedBug::kOlderStoreLeads)) return;
    const std::string ahead =
        absl::StrCat(who, " knows that generation ", frozen->stamp.generation.value(), " of job ",
                     job.name().value(), " is over, which this store does not");
    if (!adopted) return RefuseToLead(env, ahead);
    BeginRecovery(env, job, absl::StrCat("after adopt: ", ahead), std::nullopt);
    if (job.freeze.has_value()) OnFrozen(env, job, worker, *frozen);
    return;
  }
  if (const auto* staged = std::get_if<Staged>(&message)) {
    OnStaged(env, job, worker, *staged);
  } else if (const auto* rejected = std::get_if<Rejected>(&message)) {
    OnRejected(env, job, worker, *rejected);
  } else if (const auto* active = std::get_if<Active>(&message)) {
    bool behind = false;
    worker.active = std::max(worker.active, active->version);
    const std::string failure = OnActive(env, job, worker, *active, behind);
    if (!failure.empty()) return FailJob(env, job, failure);
    if (behind) {
      const std::string ahead = absl::StrCat(who, " runs plan ", active->version.value(), " of job ",
                                             job.name().value(), ", which is only PROPOSED in this store");
      return adopted ? BeginRecovery(env, job, absl::StrCat("after adopt: ", ahead), std::nullopt)
                     : RefuseToLead(env, ahead);
    }
    ContinueHomeMoves(env, job);
  } else if (const auto* put = std::get_if<RendezvousPut>(&message)) {
    OnRendezvousPut(env, job, *put);
  } else if (std::holds_alternative<Started>(message)) {
    OnStarted(env, job, worker.hello.worker);
  } else if (const auto* report = std::get_if<StepReport>(&message)) {
    if (!OnStepReport(env, job, worker, *report)) return;
    if (job.calibration.OnStep(*report)) TellModel(env, job);
    MeasureActive(env, job);
    MaybePlan(env, job);
  } else if (const auto* evaluation = std::get_if<EvaluationReport>(&message)) {
    if (!Telemetry::OnEvaluation(*evaluation, job.record)) return;
    env.Store({job.record});
    env.actions.push_back(Publish{EvaluationEvent{job.name(), job.record.evaluations.back()}});
  } else if (const auto* lost = std::get_if<LostPeer>(&message)) {
    const Member* peer = MemberOf(job, lost->rank);
    BeginRecovery(env, job,
                  absl::StrCat(who, " lost rank ", lost->rank.value(),
                               peer != nullptr ? absl::StrCat(" of worker ", peer->worker.value()) : "", ": ",
                               lost->detail),
                  peer != nullptr ? std::optional(peer->worker) : std::nullopt);
  } else if (const auto* failure = std::get_if<JobFailure>(&message)) {
    const std::string cause = absl::StrCat(who, ": ", failure->cause);
    if (failure->retry) return BeginRecovery(env, job, cause, std::nullopt);
    FailJob(env, job, cause);
  } else if (const auto* times = std::get_if<RankReport>(&message)) {
    worker.reports_dropped = times->reports_dropped;
    absl::Status taken = job.telemetry.OnRankReport(*times);
    if (taken.ok()) {
      TellSlow(env, job, job.calibration.OnRankReport(*times));
      return;
    }
    job.telemetry.CountRejected();
    env.Log(absl::StrCat(who, ": report of rank ", times->rank.value(), ": ", std::string(taken.message())),
            /*warning=*/true);
  } else if (const auto* tokens = std::get_if<TokenReport>(&message)) {
    const absl::Status taken = job.telemetry.OnTokenReport(*tokens, SamplingOf(job));
    if (taken.ok()) return;
    job.telemetry.CountRejected();
    env.Log(absl::StrCat(who, ": tokens of rank ", tokens->rank.value(), ": ", std::string(taken.message())),
            /*warning=*/true);
  } else if (const auto* links = std::get_if<LinkReport>(&message)) {
    absl::Status taken = job.links.OnReport(*links, job.generation.members, env.now.time);
    if (taken.ok()) {
      job.links.Fill(job.topology);
      TellSlow(env, job, job.calibration.OnProbes(job.topology, FreshLinks(job, *links), job.record.step));
      return;
    }
    job.telemetry.CountRejected();
    env.Log(absl::StrCat(who, ": report of links: ", std::string(taken.message())), /*warning=*/true);
  } else if (const auto* finished = std::get_if<Finished>(&message)) {
    OnFinished(env, job, worker.hello.worker, *finished);
  } else if (const auto* written = std::get_if<CheckpointWritten>(&message)) {
    OnCheckpointWritten(env, job, worker, *written);
  } else if (const auto* missed = std::get_if<CheckpointFailed>(&message)) {
    OnCheckpointFailed(env, job, worker, *missed);
    EndFinished(env, job);
  } else if (const auto* published = std::get_if<CheckpointPublished>(&message)) {
    OnCheckpointPublished(env, job, worker, *published);
    EndFinished(env, job);
  }
}

}  // namespace ballast
