#include "plan/home_moves.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>

#include "plan/diff.h"
#include "tests/plan/fixtures.h"

namespace ballast {
namespace {

TEST(PreferredHomes, FollowTheSlots) {
  const JobConfig job = testing::SmallJob(1, 3, 3);
  const ParameterLayout layout = testing::LayoutOf(job);
  PlanBody plan = *ContiguousPlan(job, layout, 3);
  EXPECT_EQ(PreferredHomes(plan, layout), plan.homes) << "the contiguous plan is at rest";

  // Expert 0 moves from rank 0 to rank 2; expert 1 gets copies on ranks 0 and 2 beside rank 1.
  plan.layers[0].slots = {
      {ExpertId(1), Slot(), Slot()}, {ExpertId(1), Slot(), Slot()}, {ExpertId(2), ExpertId(0), ExpertId(1)}};
  const std::vector<Rank> wanted = PreferredHomes(plan, layout);
  for (size_t b = 0; b < wanted.size(); ++b) {
    const auto& expert = layout.parameter_of(BlockId(static_cast<int32_t>(b))).expert;
    if (!expert) {
      EXPECT_EQ(wanted[b], plan.homes[b]) << "dense block " << b;
    } else if (expert != ExpertId(1)) {
      EXPECT_EQ(wanted[b], Rank(2)) << "expert " << *expert;
    }
  }
  // Nine blocks over three hosts: the first three of them stay on rank 1, the rest go to ranks 0 and 2 in
  // block order.
  const auto one = layout.ExpertBlocks(LayerId(0), ExpertId(1));
  const std::vector<Rank> blocks(wanted.begin() + one.first, wanted.begin() + one.last);
  EXPECT_THAT(blocks, ::testing::ElementsAre(Rank(1), Rank(1), Rank(1), Rank(0), Rank(0), Rank(0), Rank(2),
                                             Rank(2), Rank(2)));
  plan.homes = wanted;
  EXPECT_EQ(PreferredHomes(plan, layout), wanted) << "once there, nothing moves again";
}

TEST(BoundHomeMoves, TakesTheFirstMovesThatFit) {
  const JobConfig job = testing::SmallJob(1, 2, 2);
  const ParameterLayout layout = testing::LayoutOf(job);
  PlanLimits limits = LimitsFor(job, layout, 2);
  const std::vector<Rank> current = ContiguousHomes(layout, 2);
  std::vector<Rank> wanted = current;
  const auto zero = layout.ExpertBlocks(LayerId(0), ExpertId(0));
  for (int b = zero.first; b < zero.last; ++b) wanted[b] = Rank(1);
  limits.home_move_bytes_max = 20 * kHomeBytesPerElement + 8 * kHomeBytesPerElement;
  const auto homes = BoundHomeMoves(current, wanted, layout, limits);
  // The first block (20) moves, the second (20) does not fit any more, the third (8) does.
  EXPECT_EQ(homes[zero.first], Rank(1));
  EXPECT_EQ(homes[zero.first + 1], Rank(0));
  EXPECT_EQ(homes[zero.first + 2], Rank(1));
  EXPECT_EQ(homes[zero.first + 3], Rank(0));

  limits.home_elements_per_rank = HomeElements(current, layout, 2)[1] + 19;
  const auto full = BoundHomeMoves(current, wanted, layout, limits);
  EXPECT_EQ(full[zero.first], Rank(0)) << "20 more do not fit";
  EXPECT_EQ(full[zero.first + 2], Rank(1)) << "8 more do";
}

TEST(BoundHomeMoves, RepeatedMovesArriveAndNeverBreakABound) {
  const uint64_t seed = 91;
  Rng rng(seed);
  int arrivals = 0, bounded = 0;
  for (int round = 0; round < 300; ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed) + " round " + std::to_string(round));
    const int ranks = static_cast<int>(rng.Between(1, 6));
    const int slots = static_cast<int>(rng.Between(1, 4));
    const int experts = static_cast<int>(rng.Between(1, ranks * slots));
    JobConfig job = testing::SmallJob(2, experts, std::max(slots, (experts + ranks - 1) / ranks));
    const ParameterLayout layout = testing::LayoutOf(job);
    PlanLimits limits = LimitsFor(job, layout, ranks);
    // Room for everything everywhere: then every move must arrive, in as many plans as the byte bound asks
    // for.
    const bool roomy = rng.Chance(0.5);
    if (roomy) limits.home_elements_per_rank = layout.total_elements();
    limits.home_move_bytes_max = rng.Between(240, 5000);
    PlanBody plan = *ContiguousPlan(job, layout, ranks);
    if (!roomy) {
      const auto held = HomeElements(plan.homes, layout, ranks);
      limits.home_elements_per_rank = *std::max_element(held.begin(), held.end()) + rng.Between(0, 50);
    }
    for (LayerPlan& layer : plan.layers)
      layer = testing::RandomLayer(rng, ranks, limits.slots_per_rank, experts);
    ASSERT_TRUE(ValidatePlan(plan, layout, limits).ok()) << ValidatePlan(plan, layout, limits);
    PlanBody goal = plan;
    goal.homes = PreferredHomes(plan, layout);
    const size_t away = Diff(plan, goal, layout).home_moves.size();
    size_t moved = 0;
    int plans = 0;
    while (true) {
      PlanBody next = plan;
      next.homes = BoundHomeMoves(plan.homes, PreferredHomes(plan, layout), layout, limits);
      if (next.homes == plan.homes) break;
      ASSERT_TRUE(ValidateTransition(plan, next, layout, limits).ok())
          << ValidateTransition(plan, next, layout, limits);
      moved += Diff(plan, next, layout).home_moves.size();
      plan = next;
      ASSERT_LE(++plans, 1000) << "moves do not come to rest";
    }
    EXPECT_LE(moved, away) << "no block moves twice";
    if (roomy) {
      EXPECT_EQ(PreferredHomes(plan, layout), plan.homes);
      arrivals += plans > 0;
      bounded += plans > 1;
    }
  }
  EXPECT_GT(arrivals, 50);
  EXPECT_GT(bounded, 20) << "the byte bound was never felt";
}

// A rank sends and receives at most one wave's bytes in a plan, so that no plan's pause grows with the move;
// how many waves that takes beside the least, the busiest rank's bytes one way over a wave's.
TEST(BoundHomeMoves, FewMoreWavesThanTheBusiestRankNeeds) {
  const uint64_t seed = 92;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  const JobConfig job = testing::SmallJob(4, 32, 3);
  const ParameterLayout layout = testing::LayoutOf(job);
  constexpr int kRanks = 16;
  const int64_t block = job.placement.block_elements * kHomeBytesPerElement;
  double ratio = 0, worst = 0;
  constexpr int kRounds = 40;
  for (int round = 0; round < kRounds; ++round) {
    PlanLimits limits = LimitsFor(job, layout, kRanks);
    limits.home_elements_per_rank = layout.total_elements();
    limits.home_move_bytes_max = block * rng.Between(4, 40);
    PlanBody plan = *ContiguousPlan(job, layout, kRanks);
    for (LayerPlan& layer : plan.layers)
      layer = testing::RandomLayer(rng, kRanks, limits.slots_per_rank, layout.experts());
    const std::vector<Rank> wanted = PreferredHomes(plan, layout);
    std::vector<int64_t> in(kRanks, 0), out(kRanks, 0);
    for (size_t b = 0; b < wanted.size(); ++b) {
      if (wanted[b] == plan.homes[b]) continue;
      out[plan.homes[b].index()] += layout.blocks()[b].elements * kHomeBytesPerElement;
      in[wanted[b].index()] += layout.blocks()[b].elements * kHomeBytesPerElement;
    }
    const int64_t busiest =
        std::max(*std::max_element(in.begin(), in.end()), *std::max_element(out.begin(), out.end()));
    const int64_t least = (busiest + limits.home_move_bytes_max - 1) / limits.home_move_bytes_max;
    int64_t waves = 0;
    for (; plan.homes != wanted; ++waves) {
      ASSERT_LT(waves, 2 * least) << "a block waits for a full wave of its sender or its receiver";
      plan.homes = BoundHomeMoves(plan.homes, wanted, layout, limits);
    }
    ratio += static_cast<double>(waves) / static_cast<double>(least) / kRounds;
    worst = std::max(worst, static_cast<double>(waves) / static_cast<double>(least));
  }
  std::cout << "waves over the least: mean " << ratio << ", most " << worst << "\n";
  EXPECT_LE(ratio, 1.25);
}

}  // namespace
}  // namespace ballast
