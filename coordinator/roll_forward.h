// Roll-forward: whether a generation that is over can be gone on with from what its own ranks hold. Pure.
//
// Updates are in place, so there is no way back to the last step that all ranks have applied; but a rank that
// has not applied the step that another one has, holds the reduced gradients of it, because all rows of a
// table leave behind them (F9). So the next generation has the same members, each with what it held, begins
// behind the highest step that any rank has applied, and those that lack it apply it first: no step is lost,
// and none is trained twice (F12). It takes every rank: what one process held is in no other one (F11).
#pragma once

#include <map>

#include "absl/status/statusor.h"
#include "coordinator/records.h"
#include "protocol/messages.h"
#include "protocol/planted_bugs.h"

namespace ballast {

struct RollForward {
  Step step;         // the highest that any rank has applied
  PlanVersion plan;  // of that step: its homes are where the states are
  friend bool operator==(const RollForward&, const RollForward&) = default;
};

// `frozen` has the answers of members of `generation`, by worker; those of other processes do not count.
// `checkpoint` is the step that the newest complete checkpoint was taken after (0 = none). An error says in
// words why the next generation has to begin from the checkpoint. Behind the job's last step the next
// generation has nothing to train, but what comes behind it to do: own updates, evaluation, checkpoint.
absl::StatusOr<RollForward> DecideRollForward(const GenerationRecord& generation,
                                              const std::map<WorkerId, Frozen>& frozen, Step checkpoint,
                                              const PlantedBugs& bugs = {});

}  // namespace ballast
