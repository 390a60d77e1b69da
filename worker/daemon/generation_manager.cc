#include "worker/daemon/generation_manager.h"

#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "worker/daemon/data_address.h"

namespace ballast {
namespace {

// A coordinator decides what becomes of ranks that ended within seconds, or, when the checkpoint of a drain
// cannot be written, after a minute; and it may have to be restarted first. Then the memory is given back,
// and at once when the job has ended.
const Duration kKeptFor = Seconds(150);

}  // namespace

std::optional<NeighbourRing> RingOf(const RunId& run, const std::vector<Member>& members,
                                    const WorkerId& self) {
  std::vector<const Member*> daemons;  // the first rank of each, by rank
  for (const Member& member : members) {
    bool seen = false;
    for (const Member* daemon : daemons) seen = seen || daemon->worker == member.worker;
    if (!seen) daemons.push_back(&member);
  }
  if (daemons.size() < 2) return std::nullopt;
  for (size_t i = 0; i < daemons.size(); ++i) {
    if (daemons[i]->worker != self) continue;
    const Member& next = *daemons[(i + 1) % daemons.size()];
    const Member& previous = *daemons[(i + daemons.size() - 1) % daemons.size()];
    return NeighbourRing{.job = run.job,
                         .generation = run.generation,
                         .self = daemons[i]->rank,
                         .next = next.rank,
                         .next_address = next.neighbour_address,
                         .previous = previous.rank};
  }
  return std::nullopt;
}

GenerationManager::GenerationManager(WorkerId self, RankParts parts, SessionHost* host, NeighbourWatch* watch,
                                     LinkProber* prober)
    : self_(std::move(self)),
      parts_(std::move(parts)),
      host_(host),
      watch_(watch),
      prober_(prober),
      thread_([this] { Loop(); }) {}

GenerationManager::~GenerationManager() { Shutdown("the worker ends"); }

void GenerationManager::Start(StartGeneration start, std::shared_ptr<StreamRendezvous> rendezvous) {
  MutexLock lock(mutex_);
  queued_ = Queued{std::move(start), std::move(rendezvous)};
  over_.reset();  // its thread looks at what is kept anyway
  changed_.SignalAll();
}

void GenerationManager::Abort(const RunId& run, const std::string& reason) {
  std::shared_ptr<GenerationRun> current;
  {
    MutexLock lock(mutex_);
    if (queued_.has_value()) {
      const Stamp& stamp = queued_->start.assign.stamp;
      if (RunId{stamp.job, stamp.generation} == run) {
        // It was over before it began, so what it was given lies there still.
        passed_by_ = {run, KeptIn(queued_->start)};
        queued_.reset();
      }
    }
    if (current_ != nullptr && current_->id() == run) current = current_;
  }
  if (current != nullptr) current->Abort(reason);
}

void GenerationManager::Forget(const RunId& run) {
  MutexLock lock(mutex_);
  over_ = run;
  changed_.SignalAll();
}

RunId GenerationManager::KeptIn(const StartGeneration& start) const {
  const RunId left{start.assign.stamp.job, start.kept_in};
  return left == passed_by_.run ? passed_by_.kept_in : left;
}

void GenerationManager::Shutdown(const std::string& reason) {
  std::shared_ptr<GenerationRun> current;
  {
    MutexLock lock(mutex_);
    ending_ = true;
    queued_.reset();
    current = current_;
    changed_.SignalAll();
  }
  if (current != nullptr) current->Abort(reason);
  if (thread_.joinable()) thread_.join();
}

void GenerationManager::Loop() {
  Kept kept;
  while (true) {
    std::shared_ptr<GenerationRun> run;
    {
      MutexLock lock(mutex_);
      while (!queued_.has_value() && !ending_) {
        if (over_.has_value() && over_->job == kept.run.job) kept.ranks.clear();
        over_.reset();
        if (kept.ranks.empty()) {
          changed_.Wait(mutex_);
        } else if (!changed_.WaitUntil(mutex_, kept.until)) {
          kept.ranks.clear();
        }
      }
      if (ending_) return;
      Queued next = *std::move(queued_);
      queued_.reset();
      if (kept.run != KeptIn(next.start)) kept.ranks.clear();
      run = std::make_shared<GenerationRun>(std::move(next.start), std::move(next.rendezvous), parts_,
                                            std::exchange(kept.ranks, {}), host_);
      current_ = run;
    }
    RunOne(run);
    kept = {run->id(), run->TakeRetained(), SteadyClock().Now() + kKeptFor};
    std::erase_if(kept.ranks, [](const auto& entry) { return entry.second == nullptr; });
    MutexLock lock(mutex_);
    current_ = nullptr;
  }
}

void GenerationManager::RunOne(const std::shared_ptr<GenerationRun>& run) {
  const Assign& assign = run->assign();
  absl::Status reachable = CheckReachable(assign.members);
  if (!reachable.ok()) {
    Log(LogLevel::kError, std::string(reachable.message()), {{"job", run->id().job.value()}});
    host_->OnFailure(run->id(), assign.start_step, std::string(reachable.message()));
    return;
  }
  std::optional<NeighbourRing> ring = RingOf(run->id(), assign.members, self_);
  if (ring.has_value()) {
    // The run outlives the watching: Stop returns only when the callback cannot come any more.
    absl::Status watching = watch_->Watch(
        *ring, [run = run.get()](Rank peer, const std::string& detail) { run->LosePeer(peer, detail); });
    if (!watching.ok()) run->LosePeer(ring->next, std::string(watching.message()));
  }
  run->Begin();
  if (prober_ != nullptr) {
    prober_->Begin(ProbeDutyOf(assign.members, self_), [this, run](std::vector<LinkProbe> links) {
      host_->OnProbes(run->id(), std::move(links), run->assign().members);
    });
  }
  run->Join();
  if (prober_ != nullptr) prober_->Stop();
  watch_->Stop();
  host_->OnRunEnd(run->id());
}

}  // namespace ballast
