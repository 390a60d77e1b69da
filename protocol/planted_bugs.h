// Bugs that the simulator can plant, one at a time, to prove that its checkers would find them.
//
// Each one breaks a rule of the live switch at the place where the rule is kept. Daemons always run with
// none: the set is a constructor argument and only the simulator makes a non-empty one.
#pragma once

#include <optional>

namespace ballast {

enum class PlantedBug {
  kFenceIgnoresOneRank,  // fence: one rank's staged version is not looked at
  kCommitBeforeStore,    // core: Commit leaves before COMMITTED is durable
  kTermUnchecked,        // session: messages of a lower term are obeyed
  kDigestUnchecked,      // fence and session: digests are not compared; the core, after a crash, stages other
                         // content under the version it had PROPOSED
  kAbortedStagedAgain,   // core: an ABORTED plan is staged again
  kStagedDroppedOnNewTerm,  // session: F1
  kStageWhilePending,       // session and core: F2, both halves
  kOwnCellsConsulted,       // fence: F3
  kNotBeforeInCommit,       // core, session, fence: F4
  kWithdrawBeforeAborted,   // core: F8, Withdraw leaves early and old STAGED answers count
  kPlanKeptAtAssign,        // session: F5, a new generation begins with the plan and promise of the old one
  kStepFromStore,           // core: F6, a generation begins behind the step that the store knows of
  kVersionReused,           // core: F7, a recovered plan has the version of the one before
  kUnpublishedLoaded,  // core: F9, a drained generation is over before its checkpoint is complete, and ranks
                       // take what parts of it there are
  kResumedEarlier,  // core: F12, a drained step is trained again from the checkpoint behind it, and the last
                    // step of an interrupted generation from what its ranks hold
  kRolledToLowest,  // core: F9, ranks go on behind the last step that all of them have applied
  kOwnUpdateSkipped,   // worker: F9, a rank that is a step behind goes on without its own update
  kRouteOfStepBefore,  // worker: one rank routes the tokens of a switch step by the plan of the step before
  kResumeForgotten,  // core: a job that resumed and has no checkpoint of its own yet begins anew after a loss
  kOlderStoreLeads,  // core: a coordinator leads although its workers know more than its store
  kAssignBeforeStore,  // core: Assign leaves before the generation is durable
  kDetachedIsLost,     // core: a closed stream ends the generation
  kFrozenByAnyone,     // core: Frozen of any process and generation counts
};

using PlantedBugs = std::optional<PlantedBug>;

inline bool Planted(const PlantedBugs& bugs, PlantedBug bug) { return bugs.has_value() && *bugs == bug; }

}  // namespace ballast
