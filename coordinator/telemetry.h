// Telemetry: what the workers report of a job's steps, bounded, for people and for the planner.
#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/planner/predictor.h"
#include "coordinator/planner/token_sample.h"
#include "coordinator/records.h"
#include "coordinator/retention.h"
#include "plan/job_config.h"
#include "protocol/messages.h"

namespace ballast {

// Of one job and generation. Derived: lost with the leader, but for what the job's record carries.
class Telemetry {
 public:
  Telemetry(const JobConfig& job, size_t recent_steps_max, const RetentionOptions& retention);

  // Adds a step, also to the progress in `record`. A step may come late, after newer ones: another daemon
  // kept its report while it was detached; it counts for people, not for the planner, who looks ahead.
  // InvalidArgument names what is wrong with the report's shape; AlreadyExists when the step was reported
  // before (reports may be repeated), or is too old to tell.
  // `speeds` are those that the step's plan counts on, by rank (null: all equal): the busiest rank is the one
  // with most tokens over its speed.
  absl::StatusOr<StepPoint> OnReport(const StepReport& report, JobRecord& record,
                                     const std::vector<uint32_t>* speeds = nullptr);
  // Phase and link times of one rank. InvalidArgument names the field that cannot be.
  absl::Status OnRankReport(const RankReport& report) { return ranks_steps_.Add(report); }
  // What the tokens of one sequence chose, as `sampling` asks of that rank; late and repeated ones are taken
  // or left as TokenSample::Add says. InvalidArgument names the field that cannot be.
  absl::Status OnTokenReport(TokenReport report, const TokenSampling& sampling);
  // Adds to `record`; false when it is known.
  static bool OnEvaluation(const EvaluationReport& report, JobRecord& record);

  // Rising; starts with the record's last steps.
  const std::deque<StepPoint>& recent() const { return recent_; }
  void Restore(const JobRecord& record);
  // A step that was recorded under an earlier leader: rising, after Restore and before reports. What cannot
  // be (another shape, steps that did not happen) is left out.
  void RestoreLoad(StepReport report, const JobRecord& record);
  // Full counts of the last steps, and what the ranks said of theirs, which a new leader begins anew.
  const StepRing& steps() const { return steps_ring_; }
  const RankRings& rank_steps() const { return ranks_steps_; }
  // A new generation has other ranks.
  void ForgetRanks(int ranks) {
    ranks_ = ranks;
    ranks_steps_.Reset(ranks);
  }
  int64_t rejected() const { return rejected_; }  // reports that named a field that cannot be
  void CountRejected() { ++rejected_; }
  // `completed` steps stand: what was reported of later ones is forgotten, also in `record`.
  void ForgetAfter(Step completed, JobRecord& record);
  // For the planner. Begins anew with a new leader, when steps are undone, and at the first step of another
  // data mixture: what was routed before says nothing of what comes.
  const LoadHistory& history() const { return history_; }
  // The same; of steps behind the last ForgetAfter, and not of other data than the newest.
  const TokenSample& tokens() const { return tokens_; }
  // Seconds until the last step at the recent pace; 0 = unknown.
  double EtaSeconds(Step step) const;

 private:
  absl::Status CheckShape(const StepReport& report) const;
  // The data have changed since the newest load that `history_` holds.
  bool DataChangeBefore(Step step) const;
  bool Known(Step step) const;
  bool HasLoad(Step step) const;

  const int layers_;
  const int experts_;
  int ranks_;
  const int64_t steps_;
  const size_t recent_steps_max_;
  const std::vector<Step> data_changes_;  // rising
  std::deque<StepPoint> recent_;
  Step settled_;  // what was reported of steps up to here is not known any more: nothing is added to them
  std::deque<double> seconds_;  // of the last steps, for the pace
  LoadHistory history_;
  TokenSample tokens_;
  StepRing steps_ring_;
  RankRings ranks_steps_;
  int64_t rejected_ = 0;
};

}  // namespace ballast
