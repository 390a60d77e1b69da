// Checkers: the invariants of the live switch, each with a name, watched over a whole run.
//
//   I1      one plan (version and digest) per step over all ranks
//   I2      term, generation and versions never go down at a worker
//   I3      every expert has a slot and every block a home at every step
//   I6      only a COMMITTED plan becomes ACTIVE, and an ABORTED one never
//   held    a decided plan is held by every rank, and a COMMITTED one is promised by every worker
//   resolve once faults stop, every COMMITTED plan becomes ACTIVE and every PROPOSED one is resolved
//   I4      the state of a home that moves arrives as it left, at the step that needs it
//   update  every block has every update once, in the timeline that survives: none twice, none left out
//   lost    when nothing happens to processes, a generation begins behind the highest update of the one
//           before
//   load    a generation loads a complete checkpoint, and begins with the step after it; that of a job that
//           resumed is none before the one that it resumed from
//   cells   a generation begins with the plan that Assign carries and without any promise (F5)
//   reused  a plan version names one content for ever (F7)
//   loss    a generation ends only when a member was lost, gave up or finished
//   run     nothing in a run without lost workers fails the job
//
// I5 is checked by route_checker.h.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "coordinator/memory_store.h"
#include "plan/layout.h"
#include "plan/plan.h"
#include "plan/validate.h"
#include "sim/collective.h"
#include "sim/violation.h"
#include "worker/session.h"

namespace ballast::sim {

class Checkers {
 public:
  Checkers(const JobConfig& job, const MemoryStore& store, PlantedBugs bugs);

  // Rank `rank` of `run` begins `step` with `plan`.
  void OnStep(const RunKey& run, Rank rank, Step step, const PlanPtr& plan);
  // After every call of a worker's session.
  void OnSession(const WorkerId& worker, const Session& session);
  // After every transaction that took effect.
  void OnStored(const Transaction& transaction);
  // Whose promises are looked at, a new process of that name; null when it is gone. Must outlive the
  // checkers.
  void Watch(const WorkerId& worker, const Session* session);
  // `session` has just accepted `assign`; in a `quiet` run nothing happens to processes.
  void OnAssigned(const Assign& assign, const Session& session, bool quiet);
  // The job goes on from the checkpoint after `step`.
  void OnResume(Step step) { resumed_ = step; }
  // What was stored since then is forgotten.
  void OnStoreSetBack();
  // A member of `generation` has lost another one, given up or finished.
  void OnLoss(Generation generation) { losses_.insert(generation); }
  // The state of a block (its last update) is updated by `step`, arrives before that, or is published.
  void OnUpdate(Rank rank, BlockId block, Step state, Step step) const;
  // A rank of `generation` applies `step`.
  void OnApplied(Generation generation, Step step);
  void OnArrived(Rank rank, BlockId block, Step step, std::optional<Step> state) const;
  void OnPublished(Step step, const std::map<BlockId, Step>& blocks) const;
  // A fence decided `version` and `plan` is what its rank holds of it.
  void OnDecided(Rank rank, PlanVersion version, PlanDigest digest, const PlanPtr& plan);

  // Generations that went on with what their ranks held, and ranks that had to finish a step first.
  int64_t rolled_forward() const { return static_cast<int64_t>(rolled_forward_.size()); }
  int64_t behind_last() const { return static_cast<int64_t>(behind_last_.size()); }
  int64_t own_updates() const { return own_updates_; }
  void OnOwnUpdate() { ++own_updates_; }

  // Empty when nothing is open in the store: the condition that must come true once faults stop.
  std::string Unresolved() const;

 private:
  struct Seen {
    PlanVersion version;
    PlanDigest digest;
    Rank rank;
  };
  struct Cells {
    Term term;
    Generation generation;
    PlanVersion active;
    PlanVersion committed;
  };
  PlanDigest DigestOf(const PlanPtr& plan);
  void OnCommitted(const PlanRecord& record) const;

  const JobId job_;
  const MemoryStore& store_;
  const PlantedBugs bugs_;
  const ParameterLayout layout_;
  const JobConfig config_;
  // On a store that was set back, one number may be given to two runs; they never meet.
  std::map<std::pair<RunKey, Step>, Seen> steps_;
  std::map<Generation, RunKey> runs_;
  std::map<WorkerId, Cells> cells_;
  std::map<WorkerId, const Session*> sessions_;
  Step resumed_;           // 0 = it began with initial weights
  bool set_back_ = false;  // what the store says of plans may be older than what ranks run
  std::set<PlanVersion> aborted_;
  std::map<PlanVersion, PlanDigest> stored_;
  std::set<Generation> losses_;
  std::map<Generation, Step> applied_;  // the highest, of any rank
  std::set<Generation> rolled_forward_;
  std::set<Generation> behind_last_;  // of those, behind the job's last step
  int64_t own_updates_ = 0;
  std::map<Generation, std::set<WorkerId>> members_;  // as the store has them
  std::set<Incarnation> dead_;
  std::set<WorkerId> dead_names_;          // of which some process has died
  std::map<PlanPtr, PlanDigest> digests_;  // of plans seen; also those that I3 has passed
};

}  // namespace ballast::sim
