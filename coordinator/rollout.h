// Rollout: the life of one plan, PROPOSED -> STAGED by every rank -> COMMITTED -> ACTIVE, or ABORTED.
//
// The rules that are kept here: every state is durable before a message tells of it; a STAGED counts only if
// it answers this term, generation and incarnation (F8); one plan at a time, and the next one only when every
// rank has reported the last committed one ACTIVE (F2); COMMITTED is never taken back.
#pragma once

#include <string>

#include "coordinator/env.h"
#include "coordinator/job_entry.h"

namespace ballast {

// A validated content on its way to become the next plan.
struct NewPlan {
  PlanBody body;  // homes moved by no more than one plan may
  Step not_before_step;
  PlanOrigin origin = PlanOrigin::kPlanner;
  double imbalance_before = 0;
  double imbalance_after = 0;
  double imbalance_bound = 0;
  Explanation explanation{};
  std::vector<Rank> wanted_homes;  // where the homes go on to after this plan; empty = they are there
};

// A new plan may be proposed now; else why not.
absl::Status MayPropose(const JobEntry& job, const CoreOptions& options);
// Requires MayPropose. Returns the version.
PlanVersion Propose(Env& env, JobEntry& job, NewPlan plan);

// Answers of member `worker`, already known to be of this job's generation.
void OnStaged(Env& env, JobEntry& job, const WorkerEntry& worker, const Staged& message);
void OnRejected(Env& env, JobEntry& job, const WorkerEntry& worker, const Rejected& message);
// Returns why the job cannot go on, or empty. `behind` is set when the store cannot be right.
std::string OnActive(Env& env, JobEntry& job, const WorkerEntry& worker, const Active& message, bool& behind);

// Says again to a member that attached whatever applies to it.
void ResendPlans(Env& env, JobEntry& job, const WorkerEntry& worker);
void OnTick(Env& env, JobEntry& job);

// Takes up what the store says after a change of leader.
void ResumeRollout(Env& env, JobEntry& job);
// The generation is over: resolves the plan in flight and the unfinished checkpoints, and returns the records
// to be written.
std::vector<RecordWrite> EndRollout(JobEntry& job, const std::string& reason);

// The content alone, without version, reason or prediction: equal contents have equal digests.
PlanDigest ContentDigest(const PlanBody& body);

}  // namespace ballast
