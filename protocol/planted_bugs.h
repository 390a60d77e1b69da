// Bugs that the simulator can plant, one at a time, to prove that its checkers would find them.
//
// Each one breaks a rule of the live switch at the place where the rule is kept. Daemons always run with none: the set is
// a constructor argument and only the simulator makes a non-empty one.
#pragma once

#include <optional>

namespace ballast {

enum class PlantedBug {
  kFenceIgnoresOneRank,       // fence: one rank's staged version is not looked at
  kCommitBeforeStore,         // core: Commit leaves before COMMITTED is durable
  kTermUnchecked,             // session: messages of a lower term are obeyed
  kDigestUnchecked,           // fence and session: digests are not compared; the core, after a crash, stages other
                              // content under the version it had PROPOSED
  kAbortedStagedAgain,        // core: an ABORTED plan is staged again
  kStagedDroppedOnNewTerm,    // session: F1
  kStageWhilePending,         // session and core: F2, both halves
  kOwnCellsConsulted,         // fence: F3
  kNotBeforeInCommit,         // core, session, fence: F4
  kWithdrawBeforeAborted,     // core: F8, Withdraw leaves early and old STAGED answers count
};

using PlantedBugs = std::optional<PlantedBug>;

inline bool Planted(const PlantedBugs& bugs, PlantedBug bug) { return bugs.has_value() && *bugs == bug; }

}  // namespace ballast
