// Loads that alternate between two regimes: writes must not follow them to and fro.
#include <gtest/gtest.h>

#include <iostream>

#include "plan/diff.h"
#include "tests/planner/loop.h"

namespace ballast {
namespace {

using testing::Draw;
using testing::Loop;

constexpr int kRanks = 4, kPeriod = 20;
constexpr int64_t kTokens = 8192;

struct Outcome {
  int writes_of_two_periods = 0;  // the first ones
  int writes_after = 0;
  int periods_after = 0;
  int anew = 0;  // writes of one change between plans that each suit one regime
};

// Periods of both regimes by turns, of which experts 0 and `other` are hot by `hot`.
Outcome Alternate(const std::string& strategy, double hot, double write_cost, uint64_t seed) {
  JobConfig job = testing::SmallJob(1, 8, 2);
  job.planner.strategy = strategy;
  job.planner.slot_write_cost = write_cost;
  std::vector<double> one(8, 1), two(8, 1);
  one[0] = one[1] = hot;
  two[6] = two[7] = hot;
  Rng rng(seed);
  Loop loop(job, kRanks);
  Outcome outcome;
  constexpr int kPeriods = 20;
  size_t counted = 0;
  for (int period = 0; period < kPeriods; ++period) {
    for (int s = 0; s < kPeriod; ++s) loop.Run({Draw(rng, period % 2 == 0 ? one : two, kTokens)});
    for (; counted < loop.plans.size(); ++counted) {
      (period < 2 ? outcome.writes_of_two_periods : outcome.writes_after) += loop.plans[counted].slot_writes;
    }
  }
  outcome.periods_after = kPeriods - 2;
  // What a planner that starts anew in each regime would write at each change.
  PlanBody suited[2];
  for (int regime = 0; regime < 2; ++regime) {
    JobConfig patient = job;
    patient.planner.slot_write_cost = 0;
    Loop only(patient, kRanks);
    for (int s = 0; s < 60; ++s) only.Run({Draw(rng, regime == 0 ? one : two, kTokens)});
    suited[regime] = only.current;
  }
  outcome.anew = static_cast<int>(Diff(suited[0], suited[1], loop.layout).slot_writes.size());
  return outcome;
}

TEST(NoThrash, AGapBelowItsCostMovesNothing) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const Outcome outcome = Alternate("auto", 1.3, 5, seed);
    EXPECT_EQ(outcome.writes_after, 0) << "seed " << seed;
  }
}

TEST(NoThrash, AGapAboveItsCostMovesLessThanHalfOfAPlanEachPeriod) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const Outcome outcome = Alternate("auto", 3, 0.5, seed);
    std::cout << "first two periods " << outcome.writes_of_two_periods << " writes, then "
              << outcome.writes_after << " in " << outcome.periods_after
              << " periods; a change of plan takes " << outcome.anew << "\n";
    EXPECT_GE(outcome.anew, 2) << "the regimes need different plans; seed " << seed;
    EXPECT_LT(2 * outcome.writes_after, outcome.anew * outcome.periods_after) << "seed " << seed;
  }
}

}  // namespace
}  // namespace ballast
