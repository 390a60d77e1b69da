// What the coordinator says. What is checked before it is believed is in session_checks.cc, what the ranks
// say in session_ranks.cc.
#include "worker/session.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/version.h"

namespace ballast {
namespace {

SessionActions Noted(std::string note) {
  SessionActions actions;
  actions.notes.push_back(std::move(note));
  return actions;
}

void SetTerm(WorkerMessage& message, Term term) {
  std::visit(
      [term](auto& m) {
        if constexpr (requires { m.stamp; }) m.stamp.term = term;
      },
      message);
}

}  // namespace

Session::Session(SessionOptions options) : options_(std::move(options)) {}

Hello Session::MakeHello() const {
  Hello hello = options_.identity;
  hello.protocol_version = kProtocolVersion;
  hello.highest_term = highest_term_;
  hello.job = run_.job;
  hello.generation = run_.generation;
  if (active_ != nullptr) hello.active = active_->stamp.version;
  if (staged_ != nullptr) {
    hello.staged = staged_->stamp.version;
    hello.staged_digest = staged_digest_;
  }
  hello.committed = committed_;
  bool first = true;
  for (const auto& [rank, state] : ranks_) {
    hello.step = first ? state.step : std::min(hello.step, state.step);
    first = false;
  }
  return hello;
}

SessionActions Session::OnMessage(const CoordinatorMessage& message) {
  struct Visitor {
    Session& session;
    SessionActions operator()(const Welcome& m) const { return session.OnWelcome(m); }
    SessionActions operator()(const Refused& m) const {
      SessionActions actions = Noted(absl::StrCat("the coordinator refused this worker: ", m.reason));
      actions.leave = !m.retry;
      return actions;
    }
    SessionActions operator()(const Assign& m) const { return session.OnAssign(m); }
    SessionActions operator()(const Stage& m) const { return session.OnStage(m); }
    SessionActions operator()(const Commit& m) const { return session.OnCommit(m); }
    SessionActions operator()(const Withdraw& m) const { return session.OnWithdraw(m); }
    SessionActions operator()(const RendezvousValue& m) const {
      if (auto ignored = session.Obey(m.stamp)) return Noted(*ignored);
      SessionActions actions;
      if (session.running_) actions.rendezvous.push_back(m);
      return actions;
    }
    SessionActions operator()(const StepRequest& m) const { return session.OnRequest(m); }
    SessionActions operator()(const Abort& m) const { return session.OnAbort(m); }
    SessionActions operator()(const PublishCheckpoint& m) const {
      if (auto ignored = session.Obey(m.stamp)) return Noted(*ignored);
      SessionActions actions;
      actions.publish.push_back(m);
      return actions;
    }
    SessionActions operator()(const PruneCheckpoints& m) const {
      if (auto ignored = session.Obey(m.stamp)) return Noted(*ignored);
      SessionActions actions;
      actions.prune.push_back(m);
      return actions;
    }
  };
  return std::visit(Visitor{*this}, message);
}

std::optional<std::string> Session::ObeyTerm(Term term) {
  if (term < highest_term_ && !Planted(options_.bugs, PlantedBug::kTermUnchecked)) {
    return absl::StrCat("ignored a message of term ", term.value(), ": term ", highest_term_.value(),
                        " leads");
  }
  // A new leader changes nothing about the promise: only Withdraw or a new generation releases it (F1).
  if (term > highest_term_ && Planted(options_.bugs, PlantedBug::kStagedDroppedOnNewTerm)) staged_ = nullptr;
  highest_term_ = term;
  return std::nullopt;
}

std::optional<std::string> Session::Obey(const Stamp& stamp) {
  if (auto ignored = ObeyTerm(stamp.term)) return ignored;
  if (RunId{stamp.job, stamp.generation} == run_) return std::nullopt;
  std::string here = run_.job.empty() ? "this worker is idle"
                                      : absl::StrCat("this worker is in generation ", run_.generation.value(),
                                                     " of job ", run_.job.value());
  return absl::StrCat("ignored a message for generation ", stamp.generation.value(), " of job ",
                      stamp.job.value(), ": ", here);
}

SessionActions Session::OnWelcome(const Welcome& welcome) {
  if (auto ignored = ObeyTerm(welcome.term)) return Noted(*ignored);
  SessionActions actions;
  actions.send = lasting_;
  if (!leaving_.empty()) actions.send.push_back(Leaving{options_.identity.incarnation, leaving_});
  for (WorkerMessage& message : actions.send) SetTerm(message, highest_term_);
  return actions;
}

SessionActions Session::OnAssign(const Assign& assign) {
  if (auto ignored = ObeyTerm(assign.stamp.term)) return Noted(*ignored);
  const RunId run{assign.stamp.job, assign.stamp.generation};
  if (run == run_) return {};  // said again by a new leader
  Generation& newest = newest_[run.job];
  if (run.generation <= newest) {
    SessionActions actions =
        Noted(absl::StrCat("ignored the assignment to generation ", run.generation.value(), " of job ",
                           run.job.value(), ": it is over"));
    // A leader that does not know so leads with an older store, or with this one's Assign delayed.
    actions.send.push_back(FrozenIn(assign.stamp));
    return actions;
  }
  for (const Member& member : assign.members) {
    if (member.worker != options_.identity.worker || member.incarnation == options_.identity.incarnation)
      continue;
    return Noted(absl::StrCat("ignored the assignment to generation ", run.generation.value(), " of job ",
                              run.job.value(), ": it is for another process of this name"));
  }

  ParameterLayout layout;
  absl::StatusOr<std::vector<Rank>> local_ranks = CheckAssign(assign, layout);
  SessionActions actions;
  if (running_) actions.abort = AbortGeneration{run_, "the coordinator assigned another generation"};
  Clear();
  newest = run.generation;
  run_ = run;
  if (!local_ranks.ok()) {
    actions.send = Say(JobFailure{CurrentStamp(), Step(),
                                  absl::StrCat("worker ", options_.identity.worker.value(),
                                               " cannot run its ranks: ", local_ranks.status().message()),
                                  /*retry=*/assign.retained.value() > 0},
                       /*lasting=*/true)
                       .send;
    return actions;
  }
  running_ = true;
  job_ = assign.job;
  layout_ = std::move(layout);
  limits_ = LimitsFor(*job_, layout_, static_cast<int>(assign.members.size()));
  local_ranks_ = *std::move(local_ranks);
  active_ = assign.plan;
  if (planted_kept_.plan != nullptr && planted_kept_.plan->body.speeds.size() == assign.members.size()) {
    active_ = planted_kept_.plan;
  }
  if (Planted(options_.bugs, PlantedBug::kPlanKeptAtAssign)) committed_ = planted_kept_.committed;
  for (Rank rank : local_ranks_) {
    RankState& state = ranks_[rank];
    state.step = state.applied = assign.start_step.Plus(-1);
    state.active = state.applied_plan = active_->stamp.version;
    state.switch_step = assign.start_step;
  }
  actions.start = StartGeneration{assign, local_ranks_, {}};
  if (assign.retained.value() > 0) actions.start->kept_in = left_.at(run.job).kept_in;
  return actions;
}

SessionActions Session::OnStage(const Stage& stage) {
  if (auto ignored = Obey(stage.stamp)) return Noted(*ignored);
  if (stage.plan == nullptr) return Noted("ignored a Stage without a plan");
  const PlanVersion version = stage.plan->stamp.version;
  const PlanDigest digest = Digest(*stage.plan);
  if (active_ != nullptr && version <= active_->stamp.version) {
    if (version < active_->stamp.version) {
      return Noted(absl::StrCat("ignored Stage of plan ", version.value(), ": plan ",
                                active_->stamp.version.value(), " is active"));
    }
    return Say(
        Active{CurrentStamp(), options_.identity.incarnation, version, ranks_.begin()->second.switch_step},
        false);
  }
  bool lasting = false;
  absl::Status may = MayStage(*stage.plan, digest, lasting);
  if (!may.ok()) {
    return Say(Rejected{stage.stamp, options_.identity.incarnation, version, digest,
                        std::string(may.message()), lasting},
               false);
  }
  const bool promised = staged_ != nullptr && staged_->stamp.version == version;
  if (!promised) {
    staged_ = stage.plan;
    staged_digest_ = digest;
  }
  return Say(Staged{stage.stamp, options_.identity.incarnation, version, digest}, false);
}

SessionActions Session::OnUnreadableStage(const UnreadableStage& stage) {
  if (auto ignored = Obey(stage.stamp)) return Noted(*ignored);
  SessionActions actions =
      Say(Rejected{stage.stamp, options_.identity.incarnation, stage.version, stage.digest,
                   absl::StrCat("cannot be read: ", stage.reason), /*lasting=*/true},
          false);
  actions.notes.push_back(
      absl::StrCat("rejected plan ", stage.version.value(), ", which cannot be read: ", stage.reason));
  return actions;
}

SessionActions Session::OnCommit(const Commit& commit) {
  if (auto ignored = Obey(commit.stamp)) return Noted(*ignored);
  const bool promised = staged_ != nullptr && staged_->stamp.version == commit.version;
  if (promised && staged_digest_ != commit.digest && !Planted(options_.bugs, PlantedBug::kDigestUnchecked)) {
    return Noted(absl::StrCat("ignored Commit of plan ", commit.version.value(),
                              ": it is for another content than the one promised here"));
  }
  committed_ = std::max(committed_, commit.version);
  if (!promised) return {};
  if (Planted(options_.bugs, PlantedBug::kNotBeforeInCommit)) {
    auto changed = std::make_shared<Plan>(*staged_);
    changed->stamp.not_before_step = commit.planted_not_before;
    staged_ = changed;
  }
  return {};
}

SessionActions Session::OnWithdraw(const Withdraw& withdraw) {
  if (auto ignored = Obey(withdraw.stamp)) return Noted(*ignored);
  if (staged_ == nullptr || staged_->stamp.version != withdraw.version || staged_digest_ != withdraw.digest)
    return {};
  for (const auto& [rank, state] : ranks_) {
    if (state.decided < withdraw.version) continue;
    return Noted(absl::StrCat("ignored Withdraw of plan ", withdraw.version.value(), ": rank ", rank.value(),
                              " has decided it"));
  }
  staged_ = nullptr;
  staged_digest_ = PlanDigest();
  return {};
}

SessionActions Session::OnRequest(const StepRequest& request) {
  if (auto ignored = Obey(request.stamp)) return Noted(*ignored);
  if (request.id > request_) {
    request_ = request.id;
    request_kind_ = request.kind;
  }
  return {};
}

SessionActions Session::OnAbort(const Abort& abort) {
  if (auto ignored = ObeyTerm(abort.stamp.term)) return Noted(*ignored);
  const RunId run{abort.stamp.job, abort.stamp.generation};
  // Also for a generation that this worker has not heard of: its Assign may still be on its way.
  Generation& newest = newest_[run.job];
  const bool unheard = run.generation > newest;
  newest = std::max(newest, run.generation);
  SessionActions actions;
  if (run == run_) {
    actions.abort = AbortGeneration{run, abort.reason};
    left_[run.job] = {Freeze(), run.generation};
    Clear();
  } else if (unheard && abort.retained.value() > 0) {
    Inherit(abort);
  }
  if (abort.job_ended) actions.over = run;
  actions.send.push_back(FrozenIn(abort.stamp));
  return actions;
}

// Whatever this process did in that generation before, it does nothing in it any more.
Frozen Session::FrozenIn(const Stamp& stamp) const {
  auto known = left_.find(stamp.job);
  Frozen frozen;
  if (known != left_.end() && known->second.frozen.stamp.generation == stamp.generation)
    frozen = known->second.frozen;
  frozen.stamp = stamp;
  frozen.incarnation = options_.identity.incarnation;
  return frozen;
}

void Session::Inherit(const Abort& abort) {
  const auto known = left_.find(abort.stamp.job);
  if (known == left_.end()) return;
  const Frozen& before = known->second.frozen;
  if (before.stamp.generation != abort.retained) return;
  Frozen frozen;
  frozen.stamp = abort.stamp;
  frozen.step = abort.start_step.Plus(-1);
  frozen.plan = abort.plan;
  for (Frozen::RankProgress progress : before.ranks) {
    progress.step = frozen.step;
    progress.plan = frozen.plan;
    frozen.ranks.push_back(progress);
  }
  known->second.frozen = std::move(frozen);
}

Frozen Session::Freeze() const {
  Frozen frozen;
  frozen.stamp = CurrentStamp();
  bool first = true;
  for (const auto& [rank, state] : ranks_) {
    frozen.ranks.push_back({rank, state.applied, state.applied_plan, state.holds});
    frozen.step = first ? state.step : std::min(frozen.step, state.step);
    first = false;
    if (state.decided > state.active) {
      frozen.pending = state.decided;
      frozen.switch_step = state.pending_step;
    }
  }
  if (active_ != nullptr) frozen.plan = active_->stamp.version;
  return frozen;
}

void Session::Clear() {
  if (Planted(options_.bugs, PlantedBug::kPlanKeptAtAssign) && active_ != nullptr)
    planted_kept_ = {active_, committed_};
  run_ = RunId();
  running_ = false;
  job_ = nullptr;
  local_ranks_.clear();
  ranks_.clear();
  active_ = before_ = pending_ = staged_ = nullptr;
  staged_digest_ = PlanDigest();
  committed_ = PlanVersion();
  request_ = RequestId();
  request_kind_ = RequestKind::kNone;
  lasting_.clear();
  checkpoints_.clear();
}

}  // namespace ballast
