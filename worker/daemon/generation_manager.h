// GenerationManager: one generation after the other. Its thread builds a run, watches its neighbours, waits
// for its end.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "base/mutex.h"
#include "worker/daemon/generation_run.h"
#include "worker/daemon/session_host.h"
#include "worker/neighbours/neighbour_watch.h"
#include "worker/probes/link_prober.h"

namespace ballast {

class GenerationManager final : public Ranks {
 public:
  // `host`, `watch` and `prober` must outlive it; without a prober links are not measured. `self` is this
  // daemon's name.
  GenerationManager(WorkerId self, RankParts parts, SessionHost* host, NeighbourWatch* watch,
                    LinkProber* prober = nullptr);
  ~GenerationManager() override;  // Shutdown

  // Ranks; called on the agent's thread.
  void Start(StartGeneration start, std::shared_ptr<StreamRendezvous> rendezvous) override EXCLUDES(mutex_);
  void Abort(const RunId& run, const std::string& reason) override EXCLUDES(mutex_);
  void Forget(const RunId& run) override EXCLUDES(mutex_);

  // Aborts what runs and ends the thread; nothing is started any more. Idempotent, from any thread but its
  // own.
  void Shutdown(const std::string& reason) EXCLUDES(mutex_);

 private:
  struct Queued {
    StartGeneration start;
    std::shared_ptr<StreamRendezvous> rendezvous;
  };
  // What the last generation left here, until another one takes it or does without it, its job has ended, or
  // nobody is likely to ask any more.
  struct Kept {
    RunId run;
    RetainedRanks ranks;
    Time until;
  };
  // The run whose end left here what `start` goes on with.
  RunId KeptIn(const StartGeneration& start) const REQUIRES(mutex_);
  void Loop();
  void RunOne(const std::shared_ptr<GenerationRun>& run);

  const WorkerId self_;
  const RankParts parts_;
  SessionHost* const host_;
  NeighbourWatch* const watch_;
  LinkProber* const prober_;

  Mutex mutex_;
  CondVar changed_;
  std::optional<Queued> queued_ GUARDED_BY(mutex_);  // at most one: an Assign replaces the one before
  // The last run that was aborted in the queue, and what it would have gone on with.
  struct PassedBy {
    RunId run;
    RunId kept_in;
  };
  PassedBy passed_by_ GUARDED_BY(mutex_);
  std::optional<RunId> over_ GUARDED_BY(mutex_);  // to be forgotten; none is started behind it yet
  std::shared_ptr<GenerationRun> current_ GUARDED_BY(mutex_);
  bool ending_ GUARDED_BY(mutex_) = false;

  std::thread thread_;
};

// The daemons of `members` in a ring by first rank, seen from `self`; nothing when it is alone.
std::optional<NeighbourRing> RingOf(const RunId& run, const std::vector<Member>& members,
                                    const WorkerId& self);

}  // namespace ballast
