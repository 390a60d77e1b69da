// Session: what a worker daemon may promise and must obey, as a state machine without threads, clocks or
// sockets.
//
// It holds the four cells of the switch for its daemon (active, pending, staged, committed), checks every
// message of the coordinator against term, job and generation, and says what the daemon has to do. The daemon
// calls it under one mutex: the agent thread with messages, the rank threads with what their fences decided.
//
// Level-triggered: the daemon sends `send` if a stream is open and forgets it otherwise. After a
// re-attachment the session answers Welcome with everything that may have been lost.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ids.h"
#include "plan/layout.h"
#include "plan/plan.h"
#include "plan/validate.h"
#include "protocol/messages.h"
#include "protocol/planted_bugs.h"
#include "worker/step_coordination.h"

namespace ballast {

// One run of a job's ranks. Generations count per job, so it takes both to tell two runs apart.
struct RunId {
  JobId job;
  Generation generation;
  friend bool operator==(const RunId&, const RunId&) = default;
};

// Start the ranks of a new generation (after the old one's threads have ended).
struct StartGeneration {
  Assign assign;
  std::vector<Rank> local_ranks;  // by local_rank: local_ranks[i] runs on device i of this daemon
  // The generation whose end left here what the ranks go on with, where the assignment says `retained`: an
  // earlier one than that when this worker never heard of that one while it ran.
  Generation kept_in;
};
// Leave every collective and end the rank threads of this generation. Comes before a StartGeneration of the
// same answer.
struct AbortGeneration {
  RunId run;
  std::string reason;
};

// To be carried out in the order of the fields.
struct SessionActions {
  std::vector<std::string> notes;  // for the log
  std::optional<AbortGeneration> abort;
  std::optional<RunId> over;  // its job has ended: nothing that its ranks left is asked for any more
  std::optional<StartGeneration> start;
  std::vector<RendezvousValue> rendezvous;  // of the running generation: for its rendezvous store
  std::vector<PublishCheckpoint> publish;   // answered by OnCheckpointPublished or OnCheckpointFailed
  std::vector<PruneCheckpoints> prune;
  std::vector<WorkerMessage> send;
  bool leave = false;  // the coordinator refused this process for good: end it, the reason is in notes
};

struct SessionOptions {
  // Who this daemon is; the cells of Hello are filled by the session.
  Hello identity;
  // Whether this daemon can hold what the local ranks need while they run `plans` one after the other; an
  // error rejects the last one, the plan of a Stage or an Assign. At Stage the active plan comes before it,
  // and before that its predecessor as long as states that moved away with it are still kept.
  // InvalidArgument: the plan does not fit this generation, and is refused for good; any other error: not
  // now. May be null.
  using MemoryCheck = std::function<absl::Status(const JobConfig& job, const ParameterLayout& layout,
                                                 const std::vector<const PlanBody*>& plans,
                                                 const std::vector<Rank>& local_ranks)>;
  MemoryCheck memory_check;
  PlantedBugs bugs;
};

class Session {
 public:
  explicit Session(SessionOptions options);

  // First message of a new stream.
  Hello MakeHello() const;
  SessionActions OnMessage(const CoordinatorMessage& message);
  // Rejects the plan. A coordinator that heard nothing would wait for its staging deadline.
  SessionActions OnUnreadableStage(const UnreadableStage& stage);

  // ---- from the rank threads; ignored unless `run` is the generation that is running ----

  // Connected and about to run the start step.
  SessionActions OnStarted(const RunId& run, Rank rank);
  SessionActions OnDecided(const RunId& run, Rank rank, PlanVersion version, Step switch_step);
  SessionActions OnActive(const RunId& run, Rank rank, PlanVersion version, Step switch_step);
  // False: the generation has ended here, and what was said of its ranks must stay true.
  [[nodiscard]] bool OnApplying(const RunId& run, Rank rank, Step step, PlanVersion plan);
  SessionActions OnStepDone(const RunId& run, Rank rank, Step step);
  // What `rank` held of its homes is gone, or was never there; also after its run has ended.
  void OnReleased(const RunId& run, Rank rank);
  SessionActions OnFinished(const RunId& run, Rank rank, Step step, bool stopped, bool drained = false);
  // The communicator lost `peer`; the daemon has aborted its ranks itself.
  SessionActions OnLostPeer(const RunId& run, Rank peer, const std::string& detail);
  // `retry`: JobFailure's.
  SessionActions OnFailure(const RunId& run, Step step, const std::string& cause, bool retry = false);
  // This process wants to end; said again after every Welcome until it does.
  SessionActions OnLeaving(const std::string& reason);
  SessionActions OnRendezvousPut(const RunId& run, const std::string& key, const std::string& value);

  // ---- checkpoints: from whoever writes them; ignored unless `run` was accepted last, also after its ranks
  // ended ----

  // All that `rank` adds to the checkpoint after `step` is on disk. Told on when every local rank's is.
  SessionActions OnCheckpointWritten(const RunId& run, Rank rank, const WrittenCheckpoint& written);
  // Nothing will come of the checkpoint after `step`.
  SessionActions OnCheckpointFailed(const RunId& run, Step step, bool skipped, const std::string& cause);
  // The manifest is in place.
  SessionActions OnCheckpointPublished(const RunId& run, Step step);

  // ---- reads ----

  // For a rank's next header.
  HeaderCells Cells() const;
  // For Fence::HeldPlan: the promised plan of that version and digest, or null.
  PlanPtr Held(PlanVersion version, PlanDigest digest) const;
  Term highest_term() const { return highest_term_; }
  // The generation that was accepted last, whether its ranks still run or have failed or finished; empty =
  // none, or released by the coordinator.
  const RunId& run() const { return run_; }
  // Of run(); null = none.
  const std::shared_ptr<const JobConfig>& job() const { return job_; }
  // The plan that every local rank runs; null = no generation.
  const PlanPtr& active() const { return active_; }

 private:
  // What is known of one local rank.
  struct RankState {
    bool started = false;
    bool finished = false;
    bool holds = true;  // the states of its homes, or what they were filled from
    Step step;          // last completed
    Step applied;       // the last update; the step before the first while there is none
    PlanVersion applied_plan;
    PlanVersion decided;  // highest
    PlanVersion active;
    Step switch_step;   // of `active`
    Step pending_step;  // switch step of `decided`
  };

  SessionActions OnWelcome(const Welcome& welcome);
  SessionActions OnAssign(const Assign& assign);
  SessionActions OnStage(const Stage& stage);
  SessionActions OnCommit(const Commit& commit);
  SessionActions OnWithdraw(const Withdraw& withdraw);
  SessionActions OnRequest(const StepRequest& request);
  SessionActions OnAbort(const Abort& abort);
  // What the ranks of the running generation did, before it is forgotten.
  Frozen Freeze() const;
  // The answer to who says that a generation is over, or does not know that it is.
  Frozen FrozenIn(const Stamp& stamp) const;
  // `abort` is the first that is heard of a generation that was to go on from what is held here.
  void Inherit(const Abort& abort);

  // Learn the message's term and compare its generation; an explanation when the message must be ignored.
  std::optional<std::string> ObeyTerm(Term term);
  std::optional<std::string> Obey(const Stamp& stamp);
  // The local ranks by local_rank, or why the assignment cannot be carried out here.
  absl::StatusOr<std::vector<Rank>> CheckAssign(const Assign& assign, ParameterLayout& layout) const;
  // OK when `plan` may be promised now. With an error, `lasting` says that its content is at fault.
  absl::Status MayStage(const Plan& plan, PlanDigest digest, bool& lasting) const;
  // What the memory check is asked about when `next` is staged.
  std::vector<const PlanBody*> PlansUntil(const PlanBody& next) const;
  // Some local rank has decided a plan that another one does not run yet.
  bool Pending() const { return pending_ != nullptr; }
  RankState* Find(const RunId& run, Rank rank);
  void Clear();
  Stamp CurrentStamp() const { return {highest_term_, run_.job, run_.generation}; }
  SessionActions Say(WorkerMessage message, bool lasting);

  const SessionOptions options_;
  Term highest_term_;
  // Highest generation accepted or aborted, of every job this process has worked for: those up to it are
  // over.
  std::map<JobId, Generation> newest_;
  // What the newest generation that is over left here, of every job.
  struct Left {
    Frozen frozen;       // the answer to its Abort; given again when that is said again
    Generation kept_in;  // StartGeneration's
  };
  std::map<JobId, Left> left_;
  std::string leaving_;  // why this process wants to end; empty = it does not
  // The generation.
  RunId run_;
  bool running_ = false;  // its ranks were started, and have not failed, been aborted or all finished
  std::shared_ptr<const JobConfig> job_;
  std::vector<Rank> local_ranks_;
  ParameterLayout layout_;
  PlanLimits limits_;
  std::map<Rank, RankState> ranks_;  // local ones
  // The cells.
  PlanPtr active_;
  PlanPtr before_;   // ran before active_; null in the first plan of a generation
  PlanPtr pending_;  // decided by a local rank, not yet active at all of them
  PlanPtr staged_;  // the promise; kept until the plan is active at all local ranks, because their fences ask
                    // for it
  PlanDigest staged_digest_;
  PlanVersion committed_;
  RequestId request_;
  RequestKind request_kind_ = RequestKind::kNone;
  // Only the planted bug F5 fills it: what Clear should have dropped.
  struct Kept {
    PlanPtr plan;
    PlanVersion committed;
  };
  Kept planted_kept_;
  // Said once and repeated after every Welcome of this generation.
  std::vector<WorkerMessage> lasting_;
  // What some local ranks have written and others have not yet.
  struct Collected {
    std::set<Rank> ranks;
    std::vector<CheckpointFile> files;
  };
  std::map<Step, Collected> checkpoints_;
};

}  // namespace ballast
