// GenerationRun: the rank threads of this daemon in one generation, from the rendezvous to their end.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "worker/comm/communicator.h"
#include "worker/daemon/session_host.h"

namespace ballast {

class CheckpointLoader;
struct RetainedRank;

// What the ranks of a daemon still hold of a generation that ended under them.
using RetainedRanks = std::map<Rank, std::shared_ptr<const RetainedRank>>;

// How a rank's training ended well.
struct RankResult {
  Step step;             // the last one
  bool stopped = false;  // by a stop request, before the job's last step
  bool drained = false;  // by a drain request, the same
};

// What one rank is given.
struct RankContext {
  const Assign* assign = nullptr;
  Rank rank;
  int local_rank = 0;
  StepCoordination* coordination = nullptr;
  std::shared_ptr<CheckpointLoader> loader = {};  // left by connect for train, when a checkpoint is assigned
  // What the rank begins with, when the assignment says so; train replaces it by what is left when the rank
  // ends and another generation may go on from there. Null = nothing.
  std::shared_ptr<const RetainedRank> retained = {};
};

// The two halves of a rank's life; tests put their own in.
struct RankParts {
  // Blocks until this rank is connected to all others; must fail soon after `rendezvous` was aborted.
  std::function<absl::StatusOr<std::unique_ptr<Communicator>>(RankContext& context,
                                                              RendezvousStore& rendezvous)>
      connect;
  // Trains. LostPeerError for a lost peer, Aborted after the communicator was aborted;
  // anything else is the job's failure and names the step where there is one.
  std::function<absl::StatusOr<RankResult>(RankContext& context, Communicator& communicator)> train;
};

class GenerationRun {
 public:
  // `retained` of the generation that the assignment names; `host` must outlive the run.
  GenerationRun(StartGeneration start, std::shared_ptr<StreamRendezvous> rendezvous, RankParts parts,
                RetainedRanks retained, SessionHost* host);
  ~GenerationRun();  // the threads must have been joined, or not started
  GenerationRun(const GenerationRun&) = delete;
  GenerationRun& operator=(const GenerationRun&) = delete;

  const RunId& id() const { return id_; }
  const Assign& assign() const { return start_.assign; }
  const std::vector<Rank>& local_ranks() const { return start_.local_ranks; }

  // The threads begin, and end by themselves.
  void Begin();
  // Returns when all have ended.
  void Join();
  // After Join: what they left.
  RetainedRanks TakeRetained() EXCLUDES(mutex_);

  // Ranks leave every wait at once. The first reason stays. From any thread; does not block.
  void Abort(const std::string& reason) EXCLUDES(mutex_);
  // A watch lost `peer`: aborts, and tells the coordinator. From any thread; does not block.
  void LosePeer(Rank peer, const std::string& detail) EXCLUDES(mutex_);

 private:
  void RunRank(Rank rank, int local_rank);
  // The communicator is the caller's to close.
  absl::StatusOr<RankResult> ConnectAndTrain(RankContext& context,
                                             std::unique_ptr<Communicator>& communicator) EXCLUDES(mutex_);
  // One local rank could not go on: aborts the others, then its own communicator (null before it connected),
  // and says why, unless the run was aborted before. `retry`: JobFailure's.
  void Fail(Rank rank, Communicator* communicator, const absl::Status& status, bool retry) EXCLUDES(mutex_);
  // An abort no longer reaches it: it may be closed.
  void Forget(const Communicator* communicator) EXCLUDES(mutex_);
  // True for the first.
  bool AbortFirst(const std::string& reason) EXCLUDES(mutex_);

  const StartGeneration start_;
  const RunId id_;
  const std::shared_ptr<StreamRendezvous> rendezvous_;
  const RankParts parts_;
  SessionHost* const host_;

  std::atomic<int64_t> last_step_;  // the highest that a local rank has completed

  Mutex mutex_;
  CondVar told_changed_;
  bool aborted_ GUARDED_BY(mutex_) = false;
  bool told_ GUARDED_BY(mutex_) = false;  // the coordinator knows, or need not know, why
  std::string reason_ GUARDED_BY(mutex_);
  std::vector<Communicator*> communicators_ GUARDED_BY(mutex_);  // connected, not yet destroyed
  RetainedRanks retained_ GUARDED_BY(mutex_);

  std::vector<std::thread> threads_;
};

}  // namespace ballast
