// What the rank threads say, and what they read.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "worker/session.h"

namespace ballast {

SessionActions Session::Say(WorkerMessage message, bool lasting) {
  if (lasting) lasting_.push_back(message);
  SessionActions actions;
  actions.send.push_back(std::move(message));
  return actions;
}

Session::RankState* Session::Find(const RunId& run, Rank rank) {
  if (!running_ || run != run_) return nullptr;
  auto it = ranks_.find(rank);
  BALLAST_CHECK(it != ranks_.end()) << "rank " << rank << " is not a rank of worker "
                                    << options_.identity.worker;
  return &it->second;
}

SessionActions Session::OnStarted(const RunId& run, Rank rank) {
  RankState* state = Find(run, rank);
  if (state == nullptr || state->started) return {};
  state->started = true;
  const bool all =
      std::all_of(ranks_.begin(), ranks_.end(), [](const auto& entry) { return entry.second.started; });
  if (!all) return {};
  return Say(Started{CurrentStamp(), options_.identity.incarnation}, /*lasting=*/true);
}

SessionActions Session::OnDecided(const RunId& run, Rank rank, PlanVersion version, Step switch_step) {
  RankState* state = Find(run, rank);
  if (state == nullptr) return {};
  state->decided = version;
  state->pending_step = switch_step;
  if (staged_ != nullptr && staged_->stamp.version == version) pending_ = staged_;
  return {};
}

SessionActions Session::OnActive(const RunId& run, Rank rank, PlanVersion version, Step switch_step) {
  RankState* state = Find(run, rank);
  if (state == nullptr || version <= state->active) return {};
  state->active = version;
  state->switch_step = switch_step;
  for (const auto& [other, other_state] : ranks_) {
    if (other_state.active != version) return {};
    if (other_state.switch_step == switch_step) continue;
    return OnFailure(
        run, switch_step,
        absl::StrCat("ranks ", rank.value(), " and ", other.value(), " switched to plan ", version.value(),
                     " at steps ", switch_step.value(), " and ", other_state.switch_step.value()));
  }
  if (pending_ == nullptr || pending_->stamp.version != version) {
    return OnFailure(
        run, switch_step,
        absl::StrCat("rank ", rank.value(), " runs plan ", version.value(), ", which was not decided here"));
  }
  before_ = std::exchange(active_, std::exchange(pending_, nullptr));
  if (staged_ != nullptr && staged_->stamp.version <= version) {
    staged_ = nullptr;
    staged_digest_ = PlanDigest();
  }
  return Say(Active{CurrentStamp(), options_.identity.incarnation, version, switch_step}, /*lasting=*/false);
}

bool Session::OnApplying(const RunId& run, Rank rank, Step step, PlanVersion plan) {
  RankState* state = Find(run, rank);
  if (state == nullptr) return false;
  state->applied = step;
  state->applied_plan = plan;
  return true;
}

void Session::OnReleased(const RunId& run, Rank rank) {
  auto state = ranks_.find(rank);
  if (run == run_ && state != ranks_.end()) state->second.holds = false;
}

SessionActions Session::OnStepDone(const RunId& run, Rank rank, Step step) {
  RankState* state = Find(run, rank);
  if (state == nullptr) return {};
  state->step = std::max(state->step, step);
  // A step takes all ranks of the generation: everybody is connected, the rendezvous is over.
  std::erase_if(lasting_,
                [](const WorkerMessage& message) { return std::holds_alternative<RendezvousPut>(message); });
  return {};
}

SessionActions Session::OnFinished(const RunId& run, Rank rank, Step step, bool stopped, bool drained) {
  RankState* state = Find(run, rank);
  if (state == nullptr || state->finished) return {};
  state->finished = true;
  state->step = std::max(state->step, step);
  const bool all =
      std::all_of(ranks_.begin(), ranks_.end(), [](const auto& entry) { return entry.second.finished; });
  if (!all) return {};
  // What goes wrong from here on (peers that leave, this process being stopped) takes nothing back.
  running_ = false;
  return Say(Finished{CurrentStamp(), step, stopped, drained}, /*lasting=*/true);
}

SessionActions Session::OnLostPeer(const RunId& run, Rank peer, const std::string& detail) {
  if (!running_ || run != run_) return {};
  running_ = false;
  return Say(LostPeer{CurrentStamp(), peer, detail}, /*lasting=*/true);
}

SessionActions Session::OnLeaving(const std::string& reason) {
  leaving_ = reason;
  return Say(Leaving{options_.identity.incarnation, reason}, /*lasting=*/false);
}

SessionActions Session::OnFailure(const RunId& run, Step step, const std::string& cause, bool retry) {
  if (!running_ || run != run_) return {};
  running_ = false;
  return Say(JobFailure{CurrentStamp(), step, cause, retry}, /*lasting=*/true);
}

SessionActions Session::OnRendezvousPut(const RunId& run, const std::string& key, const std::string& value) {
  if (!running_ || run != run_) return {};
  return Say(RendezvousPut{CurrentStamp(), key, value}, /*lasting=*/true);
}

SessionActions Session::OnCheckpointWritten(const RunId& run, Rank rank, const WrittenCheckpoint& written) {
  if (run != run_ || ranks_.count(rank) == 0) return {};
  Collected& collected = checkpoints_[written.step];
  if (!collected.ranks.insert(rank).second) return {};
  collected.files.insert(collected.files.end(), written.files.begin(), written.files.end());
  if (collected.ranks.size() < ranks_.size()) return {};
  CheckpointWritten message{CurrentStamp(),  options_.identity.incarnation, written.step, written.plan,
                            written.request, std::move(collected.files)};
  // A later one is taken only when this one is written everywhere: what is older needs no saying again.
  checkpoints_.erase(checkpoints_.begin(), checkpoints_.upper_bound(written.step));
  std::erase_if(lasting_,
                [](const WorkerMessage& m) { return std::holds_alternative<CheckpointWritten>(m); });
  return Say(std::move(message), /*lasting=*/true);
}

SessionActions Session::OnCheckpointFailed(const RunId& run, Step step, bool skipped,
                                           const std::string& cause) {
  if (run != run_) return {};
  return Say(CheckpointFailed{CurrentStamp(), options_.identity.incarnation, step, skipped, cause},
             /*lasting=*/false);
}

SessionActions Session::OnCheckpointPublished(const RunId& run, Step step) {
  if (run != run_) return {};
  return Say(CheckpointPublished{CurrentStamp(), options_.identity.incarnation, step}, /*lasting=*/false);
}

HeaderCells Session::Cells() const {
  return HeaderCells{.staged = staged_,
                     .staged_digest = staged_digest_,
                     .committed = committed_,
                     .request = request_,
                     .request_kind = request_kind_};
}

PlanPtr Session::Held(PlanVersion version, PlanDigest digest) const {
  if (staged_ == nullptr || staged_->stamp.version != version) return nullptr;
  if (staged_digest_ != digest && !Planted(options_.bugs, PlantedBug::kDigestUnchecked)) return nullptr;
  return staged_;
}

}  // namespace ballast
