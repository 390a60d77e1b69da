// A StateStore in memory, for tests and the simulator: what survives a crash of the core that uses it.
#pragma once

#include <deque>
#include <map>
#include <tuple>
#include <utility>

#include "coordinator/store.h"

namespace ballast {

// May serve several cores, one thread.
class MemoryStore final : public StateStore {
 public:
  absl::StatusOr<Term> Acquire(Term at_least) override;
  absl::StatusOr<StoreContents> Load() override;
  absl::Status Commit(const Transaction& transaction) override;

  Term term() const { return term_; }
  // Null when there is no such record.
  const JobRecord* Job(const JobId& job) const;
  const PlanRecord* Plan(const JobId& job, PlanVersion version) const;
  const std::map<std::pair<JobId, PlanVersion>, PlanRecord>& plans() const { return plans_; }

 private:
  Term term_;
  std::map<JobId, JobRecord> jobs_;
  std::map<std::pair<JobId, PlanVersion>, PlanRecord> plans_;
  std::map<std::pair<JobId, Generation>, GenerationRecord> generations_;
  std::map<std::tuple<JobId, Generation, Step>, CheckpointRecord> checkpoints_;
  std::map<JobId, std::deque<JobEvent>> events_;
  std::map<JobId, std::map<PlanVersion, ExplanationRecord>> explanations_;
  std::map<WorkerId, WorkerRecord> workers_;
};

}  // namespace ballast
