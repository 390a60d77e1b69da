// StateStore: what the coordinator must not forget.
#pragma once

#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ids.h"
#include "coordinator/records.h"

namespace ballast {

// Inserts or replaces the record of that key. Of a job's events the newest kEventsMax are kept: writing one
// drops those that are older; likewise kExplanationsMax of its explanations.
using RecordWrite = std::variant<JobRecord, PlanRecord, GenerationRecord, CheckpointRecord, JobEvent,
                                 ExplanationRecord, WorkerRecord>;

// All or nothing, and only while `term` leads. Without writes it asks just that.
struct Transaction {
  Term term;
  std::vector<RecordWrite> writes;
};

struct StoreContents {
  std::vector<JobRecord> jobs;                  // by order
  std::vector<PlanRecord> plans;                // by job, version
  std::vector<GenerationRecord> generations;    // by job, generation
  std::vector<CheckpointRecord> checkpoints;    // by job, generation, step
  std::vector<JobEvent> events;                 // by job, number
  std::vector<ExplanationRecord> explanations;  // by job, version
  std::vector<WorkerRecord> workers;            // by name
};

// Used by one thread, the coordinator's driver. Calls may block on the disk or the network.
class StateStore {
 public:
  virtual ~StateStore() = default;

  // Takes leadership: makes max(term in the store, at_least) + 1 durable and returns it. Every earlier leader
  // is fenced from then on. Any error: not leading.
  virtual absl::StatusOr<Term> Acquire(Term at_least) = 0;

  // Everything, as of the last transaction. To be called after Acquire.
  virtual absl::StatusOr<StoreContents> Load() = 0;

  // OK: all writes are durable. FailedPrecondition: another term leads; nothing was written. Any other error,
  // Unknown among them: the result is not known; the caller must not act on either and ends (a new leader
  // reads what is there).
  virtual absl::Status Commit(const Transaction& transaction) = 0;
};

}  // namespace ballast
