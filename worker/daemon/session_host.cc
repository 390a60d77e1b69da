#include "worker/daemon/session_host.h"

#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "protocol/checkpoint.h"

namespace ballast {
namespace {

// Far above what a generation ever has under way: beyond it the stream is broken and the session says
// everything again.
constexpr size_t kControlMax = 4096;
// Steps of a rank are reported together when they cover so much time.
const Duration kBatchTime = Seconds(1);

}  // namespace

// Lets a rank speak for its own generation alone: after an abort its words are ignored and its cells are
// empty.
class SessionHost::RunCoordination final : public StepCoordination {
 public:
  RunCoordination(SessionHost* host, RunId run) : host_(host), run_(std::move(run)) {}
  ~RunCoordination() override { SendBatch(); }

  HeaderCells Cells() override {
    MutexLock lock(host_->mutex_);
    if (host_->session_.run() != run_) return {};
    HeaderCells cells = host_->session_.Cells();
    cells.attached = host_->welcomed_;
    return cells;
  }
  void OnDecided(Rank rank, PlanVersion version, Step switch_step) override {
    host_->failpoint_.Pass("decided");
    host_->Apply([&](Session& session) { return session.OnDecided(run_, rank, version, switch_step); });
  }
  void OnActive(Rank rank, PlanVersion version, Step switch_step) override {
    host_->failpoint_.Pass("active");
    Log(LogLevel::kInfo, "plan active",
        {{"job", run_.job.value()},
         {"rank", rank.value()},
         {"step", switch_step.value()},
         {"plan", version.value()}});
    host_->Apply([&](Session& session) { return session.OnActive(run_, rank, version, switch_step); });
  }
  bool OnApplying(Rank rank, Step step, PlanVersion plan) override {
    MutexLock lock(host_->mutex_);
    return host_->session_.OnApplying(run_, rank, step, plan);
  }
  void OnStepDone(Rank rank, Step step) override {
    host_->Apply([&](Session& session) { return session.OnStepDone(run_, rank, step); });
  }
  void OnRankStep(Rank rank, const RankStep& step, const std::vector<int64_t>& layer_assignments) override {
    if (host_->observer_ != nullptr) host_->observer_->OnRankStep(run_, rank, step, layer_assignments);
    const Time now = SteadyClock().Now();
    if (batch_.steps.empty()) batch_since_ = now;
    batch_.rank = rank;
    batch_.steps.push_back(step);
    if (batch_.steps.size() >= kRankReportStepsMax || now - batch_since_ >= kBatchTime) SendBatch();
  }
  void OnReport(StepReport report) override {
    report.job = run_.job;
    report.generation = run_.generation;
    host_->QueueReport(run_, std::move(report));
  }
  void OnEvaluation(EvaluationReport report) override {
    report.job = run_.job;
    report.generation = run_.generation;
    host_->QueueReport(run_, std::move(report));
  }
  void OnTokens(TokenReport report) override {
    report.job = run_.job;
    report.generation = run_.generation;
    host_->QueueSample(run_, std::move(report));
  }
  void OnCheckpointWritten(Rank rank, WrittenCheckpoint written) override {
    host_->Apply([&](Session& session) { return session.OnCheckpointWritten(run_, rank, written); });
  }
  void OnCheckpointFailed(Step step, bool skipped, const std::string& cause) override {
    host_->Apply([&](Session& session) { return session.OnCheckpointFailed(run_, step, skipped, cause); });
  }

 private:
  void SendBatch() {
    if (batch_.steps.empty()) return;
    RankReport report = std::exchange(batch_, {});
    report.job = run_.job;
    report.generation = run_.generation;
    host_->QueueReport(run_, std::move(report));
  }

  SessionHost* const host_;
  const RunId run_;
  // Of the one rank that this object speaks for; its thread's own.
  RankReport batch_;
  Time batch_since_;
};

SessionHost::SessionHost(SessionOptions options, size_t reports_max, std::function<void()> wake)
    : wake_(std::move(wake)), session_(std::move(options)), outbox_(kControlMax, reports_max) {}

Hello SessionHost::BeginStream() {
  MutexLock lock(mutex_);
  outbox_.DropAllButTelemetry();
  welcomed_ = breaking_ = false;
  return session_.MakeHello();
}

void SessionHost::EndStream() {
  MutexLock lock(mutex_);
  welcomed_ = false;
}

bool SessionHost::OnMessage(const CoordinatorMessage& message) {
  if (std::holds_alternative<Stage>(message)) failpoint_.Pass("stage");
  if (std::holds_alternative<Commit>(message)) failpoint_.Pass("commit");
  if (std::holds_alternative<PublishCheckpoint>(message)) failpoint_.Pass("publish");
  SessionActions actions;
  RunId run;
  std::string folder;
  {
    MutexLock lock(mutex_);
    // Under the same lock as its answer: what a rank says next must come behind what is said again now.
    if (std::holds_alternative<Welcome>(message)) welcomed_ = true;
    actions = session_.OnMessage(message);
    QueueSends(actions);
    run = session_.run();
    if (session_.job() != nullptr) folder = CheckpointFolder(session_.job()->checkpoint.path, run.job);
  }
  LogNotes(actions);
  if (actions.abort.has_value()) {
    if (rendezvous_ != nullptr) rendezvous_->Abort(actions.abort->reason);
    rendezvous_ = nullptr;
    ranks_->Abort(actions.abort->run, actions.abort->reason);
  }
  if (actions.over.has_value()) ranks_->Forget(*actions.over);
  if (actions.start.has_value()) {
    const Stamp& stamp = actions.start->assign.stamp;
    RunId run{stamp.job, stamp.generation};
    rendezvous_ = std::make_shared<StreamRendezvous>(
        [this, run](const std::string& key, const std::string& value) { OnRendezvousPut(run, key, value); });
    ranks_->Start(*std::move(actions.start), rendezvous_);
  }
  for (const RendezvousValue& value : actions.rendezvous) {
    if (rendezvous_ != nullptr) rendezvous_->Arrived(value.key, value.value);
  }
  if (checkpoints_ != nullptr) {
    for (const PublishCheckpoint& publish : actions.publish) checkpoints_->Publish(run, folder, publish);
    for (const PruneCheckpoints& prune : actions.prune) checkpoints_->Prune(run, folder, prune);
  }
  wake_();
  return !actions.leave;
}

void SessionHost::OnUnreadableStage(const UnreadableStage& stage) {
  Apply([&](Session& session) { return session.OnUnreadableStage(stage); });
}

std::optional<WorkerMessage> SessionHost::TakeOutgoing() {
  MutexLock lock(mutex_);
  if (!welcomed_) return std::nullopt;
  std::optional<WorkerMessage> message = outbox_.Take();
  // Counted as it leaves: what was dropped since it was queued is in it.
  if (message.has_value()) {
    if (auto* report = std::get_if<RankReport>(&*message)) report->reports_dropped = outbox_.dropped();
  }
  return message;
}

bool SessionHost::Breaking() const {
  MutexLock lock(mutex_);
  return breaking_;
}

void SessionHost::OnStarted(const RunId& run, Rank rank) {
  Apply([&](Session& session) { return session.OnStarted(run, rank); });
}
void SessionHost::OnFinished(const RunId& run, Rank rank, Step step, bool stopped, bool drained) {
  Apply([&](Session& session) { return session.OnFinished(run, rank, step, stopped, drained); });
}
void SessionHost::OnReleased(const RunId& run, Rank rank) {
  MutexLock lock(mutex_);
  session_.OnReleased(run, rank);
}
void SessionHost::OnLostPeer(const RunId& run, Rank peer, const std::string& detail) {
  Apply([&](Session& session) { return session.OnLostPeer(run, peer, detail); });
}
void SessionHost::OnFailure(const RunId& run, Step step, const std::string& cause, bool retry) {
  Apply([&](Session& session) { return session.OnFailure(run, step, cause, retry); });
}
void SessionHost::OnLeaving(const std::string& reason) {
  Apply([&](Session& session) { return session.OnLeaving(reason); });
}
void SessionHost::OnRendezvousPut(const RunId& run, const std::string& key, const std::string& value) {
  Apply([&](Session& session) { return session.OnRendezvousPut(run, key, value); });
}

void SessionHost::OnCheckpointPublished(const RunId& run, Step step) {
  Apply([&](Session& session) { return session.OnCheckpointPublished(run, step); });
}
void SessionHost::OnCheckpointFailed(const RunId& run, Step step, const std::string& cause) {
  Apply([&](Session& session) { return session.OnCheckpointFailed(run, step, /*skipped=*/false, cause); });
}

void SessionHost::OnProbes(const RunId& run, std::vector<LinkProbe> links,
                           const std::vector<Member>& members) {
  if (observer_ != nullptr) observer_->OnProbes(run, links, members);
  QueueReport(run, LinkReport{run.job, run.generation, std::move(links)});
}

void SessionHost::OnRunEnd(const RunId& run) {
  if (observer_ != nullptr) observer_->OnRunEnd(run);
}

std::unique_ptr<StepCoordination> SessionHost::CoordinationFor(const RunId& run) {
  return std::make_unique<RunCoordination>(this, run);
}

RunId SessionHost::run() const {
  MutexLock lock(mutex_);
  return session_.run();
}

int64_t SessionHost::reports_dropped() const {
  MutexLock lock(mutex_);
  return outbox_.dropped();
}

bool SessionHost::attached() const {
  MutexLock lock(mutex_);
  return welcomed_;
}

bool SessionHost::HasOutgoing() const {
  MutexLock lock(mutex_);
  return welcomed_ && !outbox_.empty();
}

void SessionHost::QueueSends(SessionActions& actions) {
  for (WorkerMessage& message : actions.send) {
    // Without a welcomed stream it is forgotten here: the session repeats after the next Welcome what may be
    // lost.
    if (welcomed_ && !outbox_.PushControl(std::move(message))) breaking_ = true;
  }
  actions.send.clear();
}

template <class Event>
void SessionHost::Apply(const Event& event) {
  SessionActions actions;
  {
    MutexLock lock(mutex_);
    actions = event(session_);
    QueueSends(actions);
  }
  LogNotes(actions);
  wake_();
}

void SessionHost::QueueReport(const RunId& run, WorkerMessage report) {
  {
    MutexLock lock(mutex_);
    if (session_.run() != run) return;
    outbox_.PushTelemetry(std::move(report));
  }
  wake_();
}

void SessionHost::QueueSample(const RunId& run, TokenReport report) {
  {
    MutexLock lock(mutex_);
    // Nobody misses what is not told.
    if (session_.run() != run || !welcomed_) return;
    const int rank = report.rank.value();
    outbox_.PushLatest(rank, std::move(report));
  }
  wake_();
}

void SessionHost::LogNotes(const SessionActions& actions) {
  for (const std::string& note : actions.notes) Log(LogLevel::kInfo, note);
}

}  // namespace ballast
