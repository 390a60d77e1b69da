// Strategies of single layers as planners of whole plans.
#include "coordinator/planner/layerwise.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/planner/loop.h"

namespace ballast {
namespace {

using testing::Draw;
using testing::Loop;

constexpr int kRanks = 4;
constexpr int64_t kTokens = 4096;

const std::vector<double> kSkewed = {8, 4, 2, 1, 1, 1, 1, 1};
const std::vector<double> kDrifted = {1, 1, 1, 1, 1, 2, 4, 8};

JobConfig Job(const std::string& strategy) {
  JobConfig job = testing::SmallJob(2, 8, 3);
  job.planner.strategy = strategy;
  return job;
}

// Loop validates every plan and every transition.
TEST(Layerwise, EveryStrategyMakesValidPlansOnSkewedAndDriftingLoads) {
  for (const std::string& name : Planners().Names()) {
    if ((*Planners().Find(name))->traits().needs_tokens) continue;  // there are none here
    Rng rng(81);
    Loop loop(Job(name), kRanks);
    double before = 0, after = 0;
    for (int s = 1; s <= 200; ++s) {
      const auto& shares = s <= 100 ? kSkewed : kDrifted;
      loop.Run({Draw(rng, shares, kTokens), Draw(rng, shares, kTokens)});
      if (s <= 5) before += loop.imbalance;
      if (s > 180) after += loop.imbalance;
    }
    if (name == "contiguous") {
      EXPECT_TRUE(loop.plans.empty());
      continue;
    }
    EXPECT_GE(loop.SlotPlans(), 1) << name << "\n" << loop.Describe();
    EXPECT_LT(after / 20, before / 5) << name << "\n" << loop.Describe();
  }
}

TEST(Layerwise, AutoAndFlowRepairStayNearBalanceWithFewPlans) {
  for (const char* name : {"auto", "flow_repair"}) {
    for (uint64_t seed = 1; seed <= 10; ++seed) {
      Rng rng(seed);
      Loop loop(Job(name), kRanks);
      double first = 0, last = 0;
      for (int s = 1; s <= 200; ++s) {
        const auto& shares = s <= 100 ? kSkewed : kDrifted;
        loop.Run({Draw(rng, shares, kTokens), Draw(rng, shares, kTokens)});
        if (s > 80 && s <= 100) first += loop.imbalance / 20;
        if (s > 180) last += loop.imbalance / 20;
      }
      // The accept rule lets gains below 5 % lie.
      EXPECT_LT(first, 1.08) << name << ", seed " << seed << "\n" << loop.Describe();
      EXPECT_LT(last, 1.08) << name << ", seed " << seed << "\n" << loop.Describe();
      EXPECT_LE(loop.SlotPlans(), 5) << name << ", seed " << seed << "\n" << loop.Describe();
    }
  }
}

TEST(Layerwise, AutoLeavesABalancedLoadAlone) {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    Rng rng(seed);
    Loop loop(Job("auto"), kRanks);
    const std::vector<double> even(8, 1.0);
    for (int s = 0; s < 200; ++s) loop.Run({Draw(rng, even, kTokens), Draw(rng, even, kTokens)});
    EXPECT_TRUE(loop.plans.empty()) << "seed " << seed << "\n" << loop.Describe();
  }
}

TEST(Layerwise, EplbTellsItsSharesInThePlan) {
  Loop loop(Job("eplb"), kRanks);
  for (int s = 0; s < 30; ++s) loop.Run({{8, 4, 2, 1, 1, 1, 1, 1}, {8, 4, 2, 1, 1, 1, 1, 1}});
  EXPECT_EQ(loop.current.layers[0].split.kind, SplitKind::kFractions) << loop.Describe();
}

// The reaction to a slow rank, rung by rung: the split at once, experts when that pays, nothing on a rank
// that is far too slow; and back again.
TEST(Layerwise, ASlowRankGetsLess) {
  Rng rng(82);
  Loop loop(Job("auto"), kRanks);
  const auto run = [&](int steps) {
    for (int s = 0; s < steps; ++s) loop.Run({Draw(rng, kSkewed, kTokens), Draw(rng, kSkewed, kTokens)});
  };
  run(60);
  loop.speeds[1] = 39 << 10;
  run(4);
  EXPECT_EQ(loop.current.speeds, loop.speeds) << "within a step and the switch: " << loop.Describe();
  run(30);
  EXPECT_LT(loop.imbalance, 1.1) << "by speed; " << loop.Describe();
  loop.speeds[1] = 13 << 10;
  run(40);
  EXPECT_EQ(loop.current.speeds, loop.speeds);
  for (const LayerPlan& layer : loop.current.layers) {
    EXPECT_THAT(layer.slots[1], ::testing::Each(Slot())) << loop.Describe();
  }
  loop.speeds[1] = 1 << 16;
  run(40);
  EXPECT_EQ(loop.current.speeds, loop.speeds);
  for (const LayerPlan& layer : loop.current.layers) {
    EXPECT_THAT(layer.slots[1], ::testing::Contains(::testing::Ne(Slot()))) << loop.Describe();
  }
  EXPECT_LT(loop.imbalance, 1.1) << loop.Describe();
}

// Strategies that start from the placement of now meet one that is not valid any more.
TEST(Layerwise, EveryStrategyThatMovesExpertsDrainsARank) {
  for (const char* name : {"smartmoe", "lpt_swap", "eplb", "fastermoe_shadow", "splitpack", "hier_splitpack",
                           "flow_repair", "auto"}) {
    SCOPED_TRACE(name);
    Rng rng(86);
    Loop loop(Job(name), kRanks);
    for (int s = 0; s < 80; ++s) {
      if (s == 30) loop.speeds[1] = 13 << 10;
      loop.Run({Draw(rng, kSkewed, kTokens), Draw(rng, kSkewed, kTokens)});
    }
    EXPECT_EQ(loop.current.speeds, loop.speeds);
    for (const LayerPlan& layer : loop.current.layers) {
      EXPECT_THAT(layer.slots[1], ::testing::Each(Slot())) << loop.Describe();
    }
  }
}

// A rank that the others cannot do without stays, however slow it is.
TEST(Layerwise, ASlowRankThatIsNeededKeepsExperts) {
  Rng rng(83);
  JobConfig job = testing::SmallJob(2, 8, 2);
  job.planner.strategy = "auto";
  Loop loop(job, kRanks);
  for (int s = 0; s < 60; ++s) {
    if (s == 20) loop.speeds[1] = 13 << 10;
    loop.Run({Draw(rng, kSkewed, kTokens), Draw(rng, kSkewed, kTokens)});
  }
  for (const LayerPlan& layer : loop.current.layers) EXPECT_TRUE(layer.slots[1][0] || layer.slots[1][1]);
}

// Experts rest while predictions are not to be believed, but for the sake of a slow rank.
TEST(Layerwise, WithoutABelievedModelOnlySlowRanksMoveExperts) {
  Rng rng(84);
  Loop loop(Job("auto"), kRanks);
  loop.optional_moves = false;
  for (int s = 0; s < 40; ++s) loop.Run({Draw(rng, kSkewed, kTokens), Draw(rng, kSkewed, kTokens)});
  EXPECT_EQ(loop.SlotPlans(), 0) << loop.Describe();
  EXPECT_THAT(loop.why, ::testing::HasSubstr("not as predicted"));
  loop.speeds[1] = 30 << 10;
  for (int s = 0; s < 10; ++s) loop.Run({Draw(rng, kSkewed, kTokens), Draw(rng, kSkewed, kTokens)});
  EXPECT_GE(loop.SlotPlans(), 1) << loop.Describe();
}

}  // namespace
}  // namespace ballast
