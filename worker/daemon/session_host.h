// SessionHost: the daemon's Session behind one mutex, with what waits to be sent.
//
// The agent thread brings the coordinator's messages, rank threads bring what happened in their steps;
// neither waits for the other or for the network. While no stream is open, step and evaluation reports wait
// in a ring (the oldest is dropped and counted); everything else is said again by the session after the next
// Welcome.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/failpoint.h"
#include "base/mutex.h"
#include "net/outbox.h"
#include "protocol/messages.h"
#include "worker/daemon/run_observer.h"
#include "worker/daemon/stream_rendezvous.h"
#include "worker/session.h"
#include "worker/step_coordination.h"

namespace ballast {

// The ranks of this daemon. Called on the agent's thread; must not block.
class Ranks {
 public:
  virtual ~Ranks() = default;
  virtual void Start(StartGeneration start, std::shared_ptr<StreamRendezvous> rendezvous) = 0;
  virtual void Abort(const RunId& run, const std::string& reason) = 0;
  // Behind Abort: the job has ended with that run, so that what its ranks leave need not be kept.
  virtual void Forget(const RunId& run) = 0;
};

// What this daemon does for all ranks' checkpoints. Called on the agent's thread; must not block. `folder` is
// the job's, below checkpoint.path.
class Checkpoints {
 public:
  virtual ~Checkpoints() = default;
  // Answered by OnCheckpointPublished or OnCheckpointFailed.
  virtual void Publish(const RunId& run, const std::string& folder, const PublishCheckpoint& message) = 0;
  virtual void Prune(const RunId& run, const std::string& folder, const PruneCheckpoints& message) = 0;
};

// Where a test may let a worker fail: a Stage or a Commit has come and nothing was made of it yet, a rank's
// table has decided a plan, a rank is about to begin the first step of one.
inline const std::vector<std::string>& SessionPlaces() {
  static const auto& places =
      *new std::vector<std::string>{"stage", "commit", "decided", "active", "publish"};
  return places;
}

// All methods may be called from any thread unless they say otherwise.
class SessionHost {
 public:
  // `wake` is called when there is something to send; it must not block or call back. Neither is owned.
  SessionHost(SessionOptions options, size_t reports_max, std::function<void()> wake);

  // Before the first message. The observer may be null; neither is owned.
  void SetRanks(Ranks* ranks) { ranks_ = ranks; }
  void SetCheckpoints(Checkpoints* checkpoints) { checkpoints_ = checkpoints; }
  void SetObserver(RunObserver* observer) { observer_ = observer; }
  // At one of SessionPlaces.
  void SetFailpoint(Failpoint failpoint) { failpoint_ = std::move(failpoint); }

  // ---- the agent's thread ----
  // First message of a new stream. What waited for the old one is dropped, reports excepted.
  Hello BeginStream() EXCLUDES(mutex_);
  void EndStream() EXCLUDES(mutex_);
  // False when the coordinator refused this process for good.
  [[nodiscard]] bool OnMessage(const CoordinatorMessage& message) EXCLUDES(mutex_);
  void OnUnreadableStage(const UnreadableStage& stage) EXCLUDES(mutex_);
  // The next message to write, if the stream has been welcomed. Breaking() then says whether too much waits.
  std::optional<WorkerMessage> TakeOutgoing() EXCLUDES(mutex_);
  bool Breaking() const EXCLUDES(mutex_);

  // ---- rank threads and whoever watches them ----
  void OnStarted(const RunId& run, Rank rank);
  void OnFinished(const RunId& run, Rank rank, Step step, bool stopped, bool drained = false);
  void OnReleased(const RunId& run, Rank rank) EXCLUDES(mutex_);
  void OnLostPeer(const RunId& run, Rank peer, const std::string& detail);
  void OnFailure(const RunId& run, Step step, const std::string& cause, bool retry = false);
  void OnLeaving(const std::string& reason);
  void OnRendezvousPut(const RunId& run, const std::string& key, const std::string& value);
  void OnCheckpointPublished(const RunId& run, Step step);
  void OnCheckpointFailed(const RunId& run, Step step, const std::string& cause);
  // The cells and events of one generation, as one rank's trainer sees them. What its steps took is reported
  // in batches, the last one when the object goes.
  std::unique_ptr<StepCoordination> CoordinationFor(const RunId& run);

  // Of a link prober.
  void OnProbes(const RunId& run, std::vector<LinkProbe> links, const std::vector<Member>& members);
  // No rank of the run is left here.
  void OnRunEnd(const RunId& run);

  // Of the generation that was accepted last.
  RunId run() const EXCLUDES(mutex_);
  int64_t reports_dropped() const EXCLUDES(mutex_);
  // The coordinator has welcomed the open stream.
  bool attached() const EXCLUDES(mutex_);
  bool HasOutgoing() const EXCLUDES(mutex_);

 private:
  class RunCoordination;

  // Queues what is to be sent; notes and the rest are left to the caller.
  void QueueSends(SessionActions& actions) REQUIRES(mutex_);
  // One event of the session that only sends and notes.
  template <class Event>
  void Apply(const Event& event) EXCLUDES(mutex_);
  void QueueReport(const RunId& run, WorkerMessage report) EXCLUDES(mutex_);
  // At most the newest of each rank waits, and none for a coordinator that is away.
  void QueueSample(const RunId& run, TokenReport report) EXCLUDES(mutex_);
  static void LogNotes(const SessionActions& actions);

  const std::function<void()> wake_;
  Ranks* ranks_ = nullptr;
  Checkpoints* checkpoints_ = nullptr;
  RunObserver* observer_ = nullptr;
  Failpoint failpoint_;

  mutable Mutex mutex_;
  Session session_ GUARDED_BY(mutex_);
  Outbox<WorkerMessage> outbox_ GUARDED_BY(mutex_);
  bool welcomed_ GUARDED_BY(mutex_) = false;  // the open stream has answered our Hello
  bool breaking_ GUARDED_BY(mutex_) = false;  // a control message did not fit

  // The agent thread's own.
  std::shared_ptr<StreamRendezvous> rendezvous_;
};

}  // namespace ballast
