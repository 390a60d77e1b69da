// The messages between a worker daemon and the coordinator, as plain values. wire/ turns them into protobuf;
// the simulator carries them as they are.
//
// Level-triggered: on (re-)attach the leader sends again whatever applies of Assign, Stage, Commit and
// Withdraw, so every message may arrive twice, late, or after a newer one. A receiver must be able to tell
// from the stamp alone.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "plan/job_config.h"
#include "plan/load.h"
#include "plan/plan.h"
#include "protocol/header.h"
#include "protocol/telemetry.h"
#include "protocol/token_sampling.h"

namespace ballast {

// Where a rank runs and how its peers reach it.
struct Member {
  Rank rank;
  WorkerId worker;
  Incarnation incarnation;
  int local_rank = 0;             // index of the rank within its daemon
  std::string node;               // node name, for the topology
  std::string data_address;       // host or address that peers connect to for tensors
  std::string neighbour_address;  // host:port of the daemon's liveness listener
  std::string host;               // equal for members that share loopback addresses; empty = not known
  std::string probe_address;      // host:port that answers link probes; empty = none
  friend bool operator==(const Member&, const Member&) = default;
};

// Term, job and generation of a control message. A worker obeys a message only if term >= the highest it has
// seen and the generation is its own.
struct Stamp {
  Term term;
  JobId job;
  Generation generation;
  friend bool operator==(const Stamp&, const Stamp&) = default;
};

// A complete checkpoint: its directory, and the step that it was taken after.
struct CheckpointRef {
  std::string directory;  // as the workers see it
  Step step;
  friend bool operator==(const CheckpointRef&, const CheckpointRef&) = default;
};

// One file of a checkpoint, below its directory.
struct CheckpointFile {
  std::string name;  // without a folder
  int64_t bytes = 0;
  std::string sha256;  // 64 hexadecimal digits, lower case
  friend bool operator==(const CheckpointFile&, const CheckpointFile&) = default;
};

// ---- worker -> coordinator ----

// First message of every stream: who is here and what it holds.
struct Hello {
  int protocol_version = 0;
  WorkerId worker;
  Incarnation incarnation;
  std::string node;
  std::map<std::string, std::string> labels;
  std::string device;  // "cpu", "cuda"
  int ranks = 0;
  std::string data_address;
  std::string neighbour_address;
  std::string host;  // Member's
  std::string probe_address;
  // What the worker is in the middle of; zeros and empty when idle.
  Term highest_term;
  JobId job;
  Generation generation;
  PlanVersion active;
  PlanVersion staged;
  PlanDigest staged_digest;
  PlanVersion committed;
  Step step;  // last completed
};

// Answers carry the term they answer, so that an old answer cannot count for a new question (F8).
struct Staged {
  Stamp stamp;
  Incarnation incarnation;
  PlanVersion version;
  PlanDigest digest;
};
struct Rejected {
  Stamp stamp;
  Incarnation incarnation;
  PlanVersion version;
  PlanDigest digest;
  std::string reason;
  // The content itself is at fault: this process will never run it in this generation. Otherwise only the
  // moment is wrong (another promise, another base, no room), and it may be proposed again later.
  bool lasting = false;
};
// Every rank of this worker runs `version` since `switch_step`.
struct Active {
  Stamp stamp;
  Incarnation incarnation;
  PlanVersion version;
  Step switch_step;
};
// Rendezvous of the generation's communicator: the coordinator relays every value to all members.
struct RendezvousPut {
  Stamp stamp;
  std::string key;
  std::string value;  // bytes
};
// All ranks of this worker are connected and about to run the start step.
struct Started {
  Stamp stamp;
  Incarnation incarnation;
};
// What one step did; the daemon that hosts the step's reporting rank (ReporterOf) sends it. Global figures.
struct StepReport {
  JobId job;
  Generation generation;
  Step step;
  PlanVersion plan;
  double loss = 0;  // mean cross-entropy per token, nats
  double load_balance_loss = 0;
  double z_loss = 0;
  double gradient_norm = 0;
  double step_seconds = 0;
  int64_t tokens = 0;                             // tokens trained in this step
  StepLoad load;                                  // assignments per (layer, expert)
  std::vector<std::vector<int64_t>> rank_tokens;  // [layer][rank] assignments computed there, as the step ran
};
// Mean held-out loss of one source after step `step` (0: before the first).
struct EvaluationReport {
  JobId job;
  Generation generation;
  Step step;
  std::string source;
  double loss = 0;
};
// This worker no longer reaches a peer; its communicator is aborted.
struct LostPeer {
  Stamp stamp;
  Rank rank;  // the peer
  std::string detail;
};
// Training cannot go on, on any rank: a non-finite value, unequal splits, out of memory, unreadable data.
struct JobFailure {
  Stamp stamp;
  Step step;
  std::string cause;
  bool retry = false;  // another generation may do better: the members did not meet, or this process ends
};
// All ranks of this worker have finished: the last step, or the step at which a stop was carried out.
struct Finished {
  Stamp stamp;
  Step step;
  bool stopped = false;
  bool drained = false;  // by a drain request: the job goes on, on other ranks, after `step`
};
// The answer to Abort: this process is out of the generation, for good, and its ranks apply no update behind
// what is said here. For people and for roll-forward; nothing of it is true of another process of that name.
struct Frozen {
  Stamp stamp;
  Incarnation incarnation;
  Step step;            // the lowest that a local rank has completed; 0 = it never ran in this generation
  PlanVersion plan;     // of that step
  PlanVersion pending;  // decided and not yet active everywhere; 0 = none
  Step switch_step;     // of `pending`
  struct RankProgress {
    Rank rank;
    Step step;         // highest applied; the step before the start step when none was
    PlanVersion plan;  // of that step
    // The state of that step is still in this process, and what it takes to apply the next one when some rank
    // has.
    bool holds = false;
    friend bool operator==(const RankProgress&, const RankProgress&) = default;
  };
  std::vector<RankProgress> ranks;
};
// This process was told to end: it wants to be drained, and ends at the latest when its patience does.
struct Leaving {
  Incarnation incarnation;
  std::string reason;
};

// Everything that this worker's ranks add to the checkpoint after `step` is on disk, fsynced.
struct CheckpointWritten {
  Stamp stamp;
  Incarnation incarnation;
  Step step;
  PlanVersion plan;   // of step + 1
  RequestId request;  // that asked for it; 0 = it was due
  std::vector<CheckpointFile> files;
};
// The checkpoint after `step` will not be complete: a file could not be written, or (skipped) the one before
// is still being written. Training goes on.
struct CheckpointFailed {
  Stamp stamp;
  Incarnation incarnation;
  Step step;
  bool skipped = false;
  std::string cause;
};
// The manifest of PublishCheckpoint is in place and fsynced.
struct CheckpointPublished {
  Stamp stamp;
  Incarnation incarnation;
  Step step;
};

using WorkerMessage =
    std::variant<Hello, Staged, Rejected, Active, RendezvousPut, Started, StepReport, EvaluationReport,
                 LostPeer, JobFailure, Finished, Frozen, Leaving, RankReport, LinkReport, TokenReport,
                 CheckpointWritten, CheckpointFailed, CheckpointPublished>;

// ---- coordinator -> worker ----

// Answer to Hello; lease and heartbeat are the stream's business, not the core's.
struct Welcome {
  Term term;
};
// The stream ends after it. `retry` is false when the worker should exit (another protocol version); true
// when waiting may help (another process of that name is attached, the coordinator does not lead).
struct Refused {
  std::string reason;
  bool retry = false;
};
// A new generation. Accepting it clears staged, committed, pending and every table (F5).
struct Assign {
  Stamp stamp;
  std::shared_ptr<const JobConfig> job;
  std::vector<Member> members;  // by rank
  PlanPtr plan;                 // active at start_step
  Step start_step;
  // All ranks load their homes from here, of the step before start_step; nothing = initial weights.
  std::optional<CheckpointRef> checkpoint;
  // Instead: every rank has what it held when this generation of the job ended, on the same members; those
  // that have not applied the step before start_step finish it first. 0 = not so.
  Generation retained;
  TokenSampling sampling = {};  // what the ranks tell of their tokens; off, unless the planner asks for it
};
struct Stage {
  Stamp stamp;
  PlanPtr plan;
};
// What a worker makes of a Stage whose plan it cannot read; never sent.
struct UnreadableStage {
  Stamp stamp;
  PlanVersion version;
  PlanDigest digest;  // as the coordinator says it
  std::string reason;
};
struct Commit {
  Stamp stamp;
  PlanVersion version;
  PlanDigest digest;
  Step planted_not_before;  // only the planted bug F4 fills and reads it
};
struct Withdraw {
  Stamp stamp;
  PlanVersion version;
  PlanDigest digest;
};
struct RendezvousValue {
  Stamp stamp;
  std::string key;
  std::string value;
};
struct StepRequest {
  Stamp stamp;
  RequestId id;
  RequestKind kind = RequestKind::kNone;
};
// Leave every collective at once; the generation is over.
struct Abort {
  Stamp stamp;
  std::string reason;
  // What its Assign said, where it was to go on from what its ranks hold (`retained` > 0): a worker that
  // hears of the generation only now holds it still, as if it had been in there.
  Generation retained = {};
  Step start_step = {};
  PlanVersion plan = {};
  bool job_ended = false;  // no generation follows: what its ranks held is of no use any more
};

// Every worker has written its part of the checkpoint after `step`: put the manifest in place, which makes it
// complete. To the worker of the lowest attached rank; said again until one answers CheckpointPublished.
struct PublishCheckpoint {
  Stamp stamp;
  Step step;
  std::string manifest;  // the file's text
};
// Of the checkpoints that this job wrote in generation `first_generation` or later, all that are older than
// the newest of `keep` and not in it may go.
struct PruneCheckpoints {
  Stamp stamp;
  Generation first_generation;
  std::vector<std::string> keep;  // names of directories below the job's
};

using CoordinatorMessage = std::variant<Welcome, Refused, Assign, Stage, Commit, Withdraw, RendezvousValue,
                                        StepRequest, Abort, PublishCheckpoint, PruneCheckpoints>;

// One line, for logs and transcripts: "Stage{term 2 job demo gen 1 v3 digest 1f2e..}".
std::string ToString(const WorkerMessage& message);
std::string ToString(const CoordinatorMessage& message);

}  // namespace ballast
