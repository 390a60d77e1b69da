#include "coordinator/planner/accept.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/planner/loop.h"

namespace ballast {
namespace {

using ::testing::HasSubstr;
using testing::Loads;
using testing::Loop;

// 2 ranks x 3 slots, 4 experts, one layer: rank 0 has experts 0 and 1, rank 1 has 2 and 3.
Loop MakeLoop() { return Loop(testing::SmallJob(1, 4, 3), 2); }

// Expert 0 gets a copy on rank 1, so that the exact split can even out any load of it.
PlanBody CopyOfExpert0(const Loop& loop) {
  PlanBody proposal = loop.current;
  proposal.layers[0].slots[1][2] = ExpertId(0);
  return proposal;
}

void Observe(Loop& loop, int steps, const Loads& loads) {
  for (int i = 0; i < steps; ++i) loop.Run(loads, false);
}

TEST(MayPlan, WaitsForTheFirstSteps) {
  Loop loop = MakeLoop();
  Observe(loop, 4, {{1, 1, 1, 1}});
  EXPECT_FALSE(MayPlan(loop.Input()).accepted);
  EXPECT_EQ(MayPlan(loop.Input()).why, "too early: 4 of 5 steps observed");
  Observe(loop, 1, {{1, 1, 1, 1}});
  EXPECT_TRUE(MayPlan(loop.Input()).accepted);
}

TEST(MayPlan, HoldsDownAfterASwitch) {
  Loop loop = MakeLoop();
  Observe(loop, 20, {{1, 1, 1, 1}});
  loop.active_since = Step(12);  // steps 12..20 ran with it
  EXPECT_FALSE(MayPlan(loop.Input()).accepted);
  EXPECT_EQ(MayPlan(loop.Input()).why, "held down: the plan is active for 9 of 10 steps");
  loop.active_since = Step(11);
  EXPECT_TRUE(MayPlan(loop.Input()).accepted);
}

TEST(Accept, SaysWhatItExpects) {
  Loop loop = MakeLoop();
  Observe(loop, 10, {{70, 10, 10, 10}});
  const Verdict verdict = Accept(loop.Input(), CopyOfExpert0(loop));
  EXPECT_TRUE(verdict.accepted);
  EXPECT_EQ(verdict.why, "imbalance 1.60 -> 1.00 predicted, 1 slot write");
}

TEST(Accept, RejectsGainsThatAreTooSmall) {
  Loop loop = MakeLoop();
  Observe(loop, 10, {{260, 250, 245, 245}});  // 510 : 490
  const Verdict verdict = Accept(loop.Input(), CopyOfExpert0(loop));
  EXPECT_FALSE(verdict.accepted);
  EXPECT_EQ(verdict.why, "rejected: predicted gain 0.020 < 0.05 (imbalance 1.020 -> 1.000)");
}

TEST(Accept, RejectsGainsThatMayBeNoise) {
  Loop loop = MakeLoop();
  // Two steps of ten are far out; the mean gain is above the threshold, its error as large.
  Observe(loop, 8, {{250, 250, 250, 250}});
  Observe(loop, 2, {{500, 250, 125, 125}});
  const Verdict verdict = Accept(loop.Input(), CopyOfExpert0(loop));
  EXPECT_FALSE(verdict.accepted);
  EXPECT_EQ(
      verdict.why,
      "rejected: predicted gain 0.091 +- 0.061 may be noise, needed is 0.05 (imbalance 1.100 -> 1.000)");
  // The same mean on every step is accepted.
  Loop steady = MakeLoop();
  Observe(steady, 10, {{300, 250, 225, 225}});
  EXPECT_TRUE(Accept(steady.Input(), CopyOfExpert0(steady)).accepted)
      << Accept(steady.Input(), CopyOfExpert0(steady)).why;
}

TEST(Accept, RentsUntilTheWritesArePaid) {
  JobConfig job = testing::SmallJob(1, 4, 3);
  job.planner.slot_write_cost = 2;
  Loop loop(job, 2);
  Observe(loop, 9, {{300, 250, 225, 225}});  // 0.1 of a layer step lost in each
  EXPECT_THAT(Accept(loop.Input(), CopyOfExpert0(loop)).why,
              HasSubstr("1 slot write cost 2, more than the 0.9 lost so far"));
  Observe(loop, 10, {{300, 250, 225, 225}});
  EXPECT_FALSE(Accept(loop.Input(), CopyOfExpert0(loop)).accepted);
  Observe(loop, 2, {{300, 250, 225, 225}});
  EXPECT_TRUE(Accept(loop.Input(), CopyOfExpert0(loop)).accepted)
      << Accept(loop.Input(), CopyOfExpert0(loop)).why;
}

TEST(Accept, WhatDoesNotPayWithinTheHorizonNeverPays) {
  JobConfig job = testing::SmallJob(1, 4, 3);
  job.planner.slot_write_cost = 6;  // a horizon of 50 steps loses 5
  Loop loop(job, 2);
  Observe(loop, 300, {{300, 250, 225, 225}});
  EXPECT_FALSE(Accept(loop.Input(), CopyOfExpert0(loop)).accepted);
}

TEST(Accept, AWorsePlanIsRejected) {
  Loop loop = MakeLoop();
  Observe(loop, 10, {{25, 25, 25, 25}});
  PlanBody proposal = loop.current;
  proposal.layers[0].slots = {{ExpertId(0), ExpertId(1), ExpertId(2)}, {Slot(), ExpertId(3), Slot()}};
  EXPECT_EQ(Accept(loop.Input(), proposal).why,
            "rejected: predicted gain -0.500 < 0.05 (imbalance 1.000 -> 1.500)");
}

TEST(Decide, AnUnknownStrategyIsNamed) {
  Loop loop = MakeLoop();
  loop.job.planner.strategy = "best";
  EXPECT_THAT(
      std::string(Decide(Planners(), loop.Input()).status().message()),
      HasSubstr("unknown planner strategy \"best\"; there are: auto, coactivation, contiguous, eplb"));
}

TEST(Decide, ContiguousNeverMoves) {
  JobConfig job = testing::SmallJob(1, 4, 3);
  job.planner.strategy = "contiguous";
  Loop loop(job, 2);
  for (int i = 0; i < 40; ++i) loop.Run({{97, 1, 1, 1}});
  EXPECT_TRUE(loop.plans.empty());
  EXPECT_EQ(loop.why, "no better placement");
}

}  // namespace
}  // namespace ballast
