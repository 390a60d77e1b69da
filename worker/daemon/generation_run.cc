#include "worker/daemon/generation_run.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "worker/comm/lost_peer.h"

namespace ballast {
namespace {

// When one peer dies, connections close in a wave and a rank may first hear of a survivor that left. The dead
// one's neighbours know for sure and speak at once, so a communicator's word waits a little for theirs.
const Duration kHearsay = Seconds(0.5);

// Hands everything on and keeps the last completed step, which a failure should name.
class Tracking final : public StepCoordination {
 public:
  Tracking(std::unique_ptr<StepCoordination> inner, std::atomic<int64_t>* last_step)
      : inner_(std::move(inner)), last_step_(last_step) {}

  HeaderCells Cells() override { return inner_->Cells(); }
  void OnDecided(Rank rank, PlanVersion version, Step switch_step) override {
    inner_->OnDecided(rank, version, switch_step);
  }
  void OnActive(Rank rank, PlanVersion version, Step switch_step) override {
    inner_->OnActive(rank, version, switch_step);
  }
  bool OnApplying(Rank rank, Step step, PlanVersion plan) override {
    return inner_->OnApplying(rank, step, plan);
  }
  void OnStepDone(Rank rank, Step step) override {
    int64_t last = last_step_->load();
    while (last < step.value() && !last_step_->compare_exchange_weak(last, step.value())) {
    }
    inner_->OnStepDone(rank, step);
  }
  void OnRankStep(Rank rank, const RankStep& step, const std::vector<int64_t>& layer_assignments) override {
    inner_->OnRankStep(rank, step, layer_assignments);
  }
  void OnReport(StepReport report) override { inner_->OnReport(std::move(report)); }
  void OnEvaluation(EvaluationReport report) override { inner_->OnEvaluation(std::move(report)); }
  void OnTokens(TokenReport report) override { inner_->OnTokens(std::move(report)); }
  void OnCheckpointWritten(Rank rank, WrittenCheckpoint written) override {
    inner_->OnCheckpointWritten(rank, std::move(written));
  }
  void OnCheckpointFailed(Step step, bool skipped, const std::string& cause) override {
    inner_->OnCheckpointFailed(step, skipped, cause);
  }

 private:
  const std::unique_ptr<StepCoordination> inner_;
  std::atomic<int64_t>* const last_step_;
};

}  // namespace

GenerationRun::GenerationRun(StartGeneration start, std::shared_ptr<StreamRendezvous> rendezvous,
                             RankParts parts, RetainedRanks retained, SessionHost* host)
    : start_(std::move(start)),
      id_{start_.assign.stamp.job, start_.assign.stamp.generation},
      rendezvous_(std::move(rendezvous)),
      parts_(std::move(parts)),
      host_(host),
      last_step_(start_.assign.start_step.value() - 1),
      retained_(std::move(retained)) {}

GenerationRun::~GenerationRun() {
  for (const std::thread& thread : threads_)
    BALLAST_CHECK(!thread.joinable()) << "a rank thread was not joined";
}

void GenerationRun::Begin() {
  for (size_t i = 0; i < start_.local_ranks.size(); ++i) {
    threads_.emplace_back([this, i] { RunRank(start_.local_ranks[i], static_cast<int>(i)); });
  }
}

void GenerationRun::Join() {
  for (std::thread& thread : threads_) thread.join();
}

RetainedRanks GenerationRun::TakeRetained() {
  MutexLock lock(mutex_);
  return std::move(retained_);
}

void GenerationRun::RunRank(Rank rank, int local_rank) {
  // Closed after a failure is told: this daemon's other ranks hear the cause, never that their peer left.
  std::unique_ptr<Communicator> communicator;
  absl::StatusOr<RankResult> result = [&] {
    // Gone before the end is told: what it still has to report comes first.
    Tracking coordination(host_->CoordinationFor(id_), &last_step_);
    RankContext context{
        .assign = &start_.assign, .rank = rank, .local_rank = local_rank, .coordination = &coordination};
    {
      MutexLock lock(mutex_);
      if (start_.assign.retained.value() > 0) context.retained = std::move(retained_[rank]);
    }
    absl::StatusOr<RankResult> ended = ConnectAndTrain(context, communicator);
    if (context.retained == nullptr) host_->OnReleased(id_, rank);
    MutexLock lock(mutex_);
    retained_[rank] = std::move(context.retained);
    return ended;
  }();
  if (result.ok()) {
    Log(LogLevel::kInfo, "rank finished",
        {{"job", id_.job.value()},
         {"rank", rank.value()},
         {"step", result->step.value()},
         {"stopped", result->stopped},
         {"drained", result->drained}});
    host_->OnFinished(id_, rank, result->step, result->stopped, result->drained);
  } else {
    // That the members did not meet, or that one is too slow, is no fault of the job: with others, or later,
    // it may do. What is wrong with its files stays wrong.
    const absl::Status& status = result.status();
    bool retry = absl::IsDeadlineExceeded(status) || (communicator == nullptr && absl::IsUnavailable(status));
    Fail(rank, communicator.get(), result.status(), retry);
  }
  Forget(communicator.get());
}

void GenerationRun::Forget(const Communicator* communicator) {
  MutexLock lock(mutex_);
  std::erase(communicators_, communicator);
}

absl::StatusOr<RankResult> GenerationRun::ConnectAndTrain(RankContext& context,
                                                          std::unique_ptr<Communicator>& communicator) {
  const Generation retained = start_.assign.retained;
  if (retained.value() > 0 && context.retained == nullptr) {
    return absl::UnavailableError(absl::StrCat("what it held of generation ", retained.value(), " is gone"));
  }
  BALLAST_ASSIGN_OR_RETURN(communicator, parts_.connect(context, *rendezvous_));
  {
    MutexLock lock(mutex_);
    if (aborted_) return absl::AbortedError(reason_);
    communicators_.push_back(communicator.get());
  }
  host_->OnStarted(id_, context.rank);
  Log(LogLevel::kInfo, "rank started",
      {{"job", id_.job.value()},
       {"generation", id_.generation.value()},
       {"rank", context.rank.value()},
       {"step", start_.assign.start_step.value()},
       {"plan", start_.assign.plan->stamp.version.value()}});
  return parts_.train(context, *communicator);
}

bool GenerationRun::AbortFirst(const std::string& reason) {
  MutexLock lock(mutex_);
  if (aborted_) return false;
  aborted_ = true;
  reason_ = reason;
  // Never blocks, and a communicator leaves the list under this lock before it is destroyed.
  for (Communicator* communicator : communicators_) communicator->Abort(reason);
  return true;
}

void GenerationRun::Abort(const std::string& reason) {
  bool first = AbortFirst(reason);
  rendezvous_->Abort(reason);
  {
    MutexLock lock(mutex_);
    told_ = true;
    told_changed_.SignalAll();
  }
  if (first) Log(LogLevel::kWarning, "ranks aborted", {{"job", id_.job.value()}, {"reason", reason}});
}

void GenerationRun::LosePeer(Rank peer, const std::string& detail) {
  AbortFirst(absl::StrCat("rank ", peer.value(), " is lost: ", detail));
  rendezvous_->Abort(detail);
  {
    MutexLock lock(mutex_);
    if (told_) return;
    told_ = true;
    told_changed_.SignalAll();
  }
  Log(LogLevel::kWarning, "lost a peer",
      {{"job", id_.job.value()}, {"peer", peer.value()}, {"detail", detail}});
  host_->OnLostPeer(id_, peer, detail);
}

void GenerationRun::Fail(Rank rank, Communicator* communicator, const absl::Status& status, bool retry) {
  std::string cause = absl::StrCat("rank ", rank.value(), ": ", std::string(status.message()));
  Forget(communicator);
  bool first = AbortFirst(cause);
  if (communicator != nullptr) communicator->Abort(cause);  // after those that wait for this rank
  rendezvous_->Abort(cause);
  if (!first) return;  // another rank's trouble, or an Abort, came first and has been told
  std::optional<Rank> lost = LostPeerOf(status);
  {
    MutexLock lock(mutex_);
    Time deadline = SteadyClock().Now() + kHearsay;
    while (lost.has_value() && !told_ && told_changed_.WaitUntil(mutex_, deadline)) {
    }
    if (told_) return;
    told_ = true;
  }
  Log(LogLevel::kError, "rank failed",
      {{"job", id_.job.value()}, {"rank", rank.value()}, {"step", last_step_.load() + 1}, {"cause", cause}});
  if (lost.has_value()) {
    host_->OnLostPeer(id_, *lost, cause);
  } else {
    host_->OnFailure(id_, Step(last_step_.load() + 1), cause, retry);
  }
}

}  // namespace ballast
