// The values that the coordinator's store keeps: everything a new leader needs to go on where the last one
// stopped.
//
// All else (who is attached, who has staged, the load history) is rebuilt from the workers' Hellos and
// reports.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "coordinator/planner/explanation.h"
#include "plan/job_config.h"
#include "plan/plan.h"
#include "protocol/header.h"
#include "protocol/messages.h"

namespace ballast {

enum class JobState : uint8_t {
  kQueued = 1,      // waits for enough idle ranks
  kStarting = 2,    // assigned; not every worker has reported Started
  kRunning = 3,     // trains
  kRecovering = 4,  // between two generations
  kStopping = 5,    // a stop request is on its way to a step boundary
  kSucceeded = 6,   // final: all steps done, or stopped on request
  kFailed = 7,      // final
};
const char* ToString(JobState state);
inline bool IsFinal(JobState state) { return state == JobState::kSucceeded || state == JobState::kFailed; }

enum class PlanState : uint8_t {
  kProposed = 1,    // durable before the first Stage leaves
  kCommitted = 2,   // durable before the first Commit leaves; a generation's first plan begins here
  kActive = 3,      // every rank reported it; it stays so when a later plan becomes active
  kAborted = 4,     // durable before the first Withdraw leaves; never committed
  kSuperseded = 5,  // committed, but the generation ended before it was active
};
const char* ToString(PlanState state);

// Who asked for a plan.
enum class PlanOrigin : uint8_t {
  kFirst = 1,
  kPlanner = 2,
  kPushed = 3,
  kRollback = 4,
  kHomeMoves = 5,
  kRecovery = 6
};
const char* ToString(PlanOrigin origin);

// One training step as it ran, for people.
struct StepPoint {
  Step step;
  PlanVersion plan;
  double loss = 0;
  double tokens_per_s = 0;
  double imbalance = 0;             // mean over layers of busiest rank / mean, as the step ran
  double contiguous_imbalance = 0;  // the same counts under the contiguous plan
  double gradient_norm = 0;
  double eta_s = 0;  // until the last step, at the recent pace
  friend bool operator==(const StepPoint&, const StepPoint&) = default;
};

// Mean held-out loss of one source after `step` (0: before the first).
struct EvaluationPoint {
  Step step;
  std::string source;
  double loss = 0;
  friend bool operator==(const EvaluationPoint&, const EvaluationPoint&) = default;
};

// One change of generation that people did not ask for.
struct RecoveryPoint {
  int64_t unix_ms = 0;
  Generation lost;  // the generation that ended
  Step from;        // last step of the checkpoint to go on from; 0 = initial weights
  std::string cause;
  friend bool operator==(const RecoveryPoint&, const RecoveryPoint&) = default;
};

// Key: config->name.
struct JobRecord {
  std::shared_ptr<const JobConfig> config;  // never null
  JobState state = JobState::kQueued;
  std::string reason;  // why it is in this state; empty when there is nothing to say
  int64_t order = 0;   // of submission, rising over all jobs of the store
  int64_t submitted_unix_ms = 0;
  Generation generation;     // the newest; 0 = never started
  PlanVersion last_version;  // the highest ever proposed: versions are never used twice
  PlanVersion active;        // the last plan known active on every rank: a cache, the workers know better
  RequestId last_request;    // the highest id ever sent
  RequestKind last_request_kind = RequestKind::kNone;
  std::string request_reason;  // why a drain or a stop was asked for, whatever comes in between; else empty
  std::vector<Rank> wanted_homes;  // where the homes are going in bounded pieces; empty = nowhere
  int64_t plans_committed = 0;     // without the first plan of the job
  int64_t slot_writes = 0;         // of the plans that became active, without the first
  // Progress, as far as a write for another reason carried it along (the newest is in memory).
  Step step;
  double trained_seconds = 0;
  int64_t trained_tokens = 0;
  std::vector<StepPoint> last_steps;         // rising, at most kLastStepsMax
  std::vector<EvaluationPoint> evaluations;  // by step, then in order of arrival, at most kEvaluationsMax
                                             // (the oldest stays, then the newest)
  std::vector<RecoveryPoint> recoveries;     // rising in time, the newest kRecoveriesMax
  std::optional<CheckpointRef> resume;  // what the first generation starts from; nothing = initial weights
  Generation resume_generation;  // of `resume`: this job's generations are higher, so that no directory is
                                 // written twice
  std::shared_ptr<const PlanBody> first_plan;  // of a queued job, instead of the contiguous one; may be null
  int64_t checkpoints_skipped = 0;             // were due while the one before was still being written
  std::string device;  // kind of device (device_kind.h) of every generation, as the first one had it; empty =
                       // never started, or last written by a version that did not know of kinds
};
inline constexpr size_t kLastStepsMax = 20;
inline constexpr size_t kRecoveriesMax = 101;  // one more than RecoveryConfig::max_recoveries may be
inline constexpr size_t kEvaluationsMax = 2000;

// Key: plan->stamp.job, plan->stamp.version.
struct PlanRecord {
  PlanPtr plan;  // never null; its stamp names job, generation, version, base and not_before_step
  PlanDigest digest;
  PlanState state = PlanState::kProposed;
  PlanOrigin origin = PlanOrigin::kFirst;
  std::string outcome;    // why it was aborted or superseded
  bool rejected = false;  // aborted because a worker refused its content
  Step switch_step;       // the first step under it; 0 = not active yet
  int64_t slot_writes = 0;
  int64_t home_moves = 0;
  int64_t home_bytes = 0;       // moved, over all ranks
  int64_t slot_bytes = 0;       // of weights that the slot writes fill, over all ranks
  double imbalance_before = 0;  // predicted; 0 = not predicted
  double imbalance_after = 0;
  double imbalance_bound = 0;  // that no placement in these slots can go below, for the same loads
  int64_t proposed_unix_ms = 0;
};

// What a plan really gained: the first steps under it against the last under the plan before it.
struct MeasuredGain {
  Step from;  // first and last step under the plan that are counted; 0 = none was reported
  Step to;
  int64_t steps = 0;
  double imbalance = 0;            // mean, as they ran
  double imbalance_without = 0;    // of the same loads under the plan before it; 0 = not known
  double step_seconds = 0;         // median
  double step_seconds_before = 0;  // median of as many steps before; 0 = not known
  double switch_seconds = 0;       // the longer of the last step before and the first under the plan
  bool complete = false;           // nothing more will be counted
  friend bool operator==(const MeasuredGain&, const MeasuredGain&) = default;
};

// Why a plan is what it is. Key: job, version. Kept for the newest kExplanationsMax plans of a job that have
// one.
struct ExplanationRecord {
  JobId job;
  PlanVersion version;
  Explanation explanation;
  MeasuredGain measured;
  friend bool operator==(const ExplanationRecord&, const ExplanationRecord&) = default;
};
inline constexpr size_t kExplanationsMax = 100;

// Key: job, generation.
struct GenerationRecord {
  JobId job;
  Generation generation;
  std::vector<Member> members;  // by rank
  PlanVersion plan;             // active at start_step
  Step start_step;
  std::optional<CheckpointRef> checkpoint;  // that all ranks load; nothing = initial weights
  Generation retained;  // instead: the ranks have what they held when this generation ended; 0 = not so
  bool ended = false;
  std::string reason;  // why it ended
};

// Key: worker. Of workers that were ever cordoned.
struct WorkerRecord {
  WorkerId worker;
  bool cordoned = false;  // gets no work
};

enum class CheckpointState : uint8_t {
  kWritten = 1,    // every member has its files on disk; the manifest may be missing
  kPublished = 2,  // complete: may be loaded
  kDropped = 3,    // deleted for newer ones, or never completed
};
const char* ToString(CheckpointState state);

// Key: job, generation, step. Later generations' checkpoints are newer, whatever their step.
struct CheckpointRecord {
  JobId job;
  Step step;  // taken after it
  Generation generation;
  PlanVersion plan;       // of step + 1
  std::string directory;  // as the workers see it
  CheckpointState state = CheckpointState::kWritten;
  int64_t bytes = 0;
  int64_t unix_ms = 0;   // when all was written
  RequestId request;     // that asked for it; 0 = it was due
  std::string manifest;  // of kWritten, the text that makes it complete
};

// Something that happened to a job, for people: the job's event log, and what its watchers are told. Key:
// job, number.
struct JobEvent {
  enum class Kind : uint8_t {
    kState = 1,       // the job's state
    kPlan = 2,        // a plan's state
    kAlarm = 3,       // something is wrong and someone should look
    kMember = 4,      // a worker of the job: attached, detached, lost, drained
    kRecovery = 5,    // a generation ends before the job does, and why; the next one begins
    kCheckpoint = 6,  // written, published, skipped, deleted
    kRequest = 7,     // what an operator asked for
    kLeader = 8,      // another coordinator leads, or the same one again
  };
  JobId job;
  int64_t number = 0;  // 1, 2, ... within the job, without gaps
  int64_t unix_ms = 0;
  Kind kind = Kind::kState;
  Step step;            // last completed, or the first step under a plan that became active
  PlanVersion version;  // of kPlan; 0 = no version yet (a proposal that was not accepted)
  std::string text;     // a sentence of its own: "step 120: plan 3 active: ..."
  friend bool operator==(const JobEvent&, const JobEvent&) = default;
};
const char* ToString(JobEvent::Kind kind);
// Kept of one job, in memory and in the store: the newest. Older ones are dropped; the number of the oldest
// one that is left tells how many.
inline constexpr int64_t kEventsMax = 1000;
// Bytes of one text; what is longer is cut.
inline constexpr size_t kEventTextMax = 2000;

}  // namespace ballast
