// The accept rule of strategies that bring experts together which tokens choose together: what they gain is
// no shorter step that was measured, so that the rule of balance does not see it.
#pragma once

#include "coordinator/planner/accept.h"

namespace ballast {

// Accepted when of the pairs of experts that tokens chose together, more lie on one node: on sequences that
// the proposal was not made from, the mean gain in the share of pairs, less kPairsErrors of its standard
// errors, is at least kMinPairsGain; and the imbalance of the steps since the last look rises by no more than
// kBalanceGivenUp of itself. Requires input.tokens with enough().
Verdict AcceptPairs(const PlanInput& input, const PlanBody& proposed);

inline constexpr double kMinPairsGain = 0.01;
// Chance gets another throw at every look.
inline constexpr double kPairsErrors = 3;
inline constexpr double kBalanceGivenUp = 0.05;

}  // namespace ballast
