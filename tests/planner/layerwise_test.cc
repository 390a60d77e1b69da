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
  for (uint64_t seed = 1; seed <= 10; ++seed) {
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

}  // namespace
}  // namespace ballast
