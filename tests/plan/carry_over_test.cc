#include "plan/carry_over.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>

#include "base/rng.h"
#include "plan/home_moves.h"
#include "plan/load.h"
#include "tests/plan/fixtures.h"

namespace ballast {
namespace {

using From = std::vector<std::optional<Rank>>;

Slot At(const PlanBody& plan, int rank, int index) {
  return plan.layers[0].slots[static_cast<size_t>(rank)][static_cast<size_t>(index)];
}
Slot E(int expert) { return ExpertId(expert); }

// 1 layer of 4 experts on 4 ranks of 3 slots: rank r holds expert r.
struct FourRanks {
  JobConfig job = testing::SmallJob(1, 4, 3);
  ParameterLayout layout = testing::LayoutOf(job);
  PlanBody plan = *ContiguousPlan(job, layout, 4);
  std::vector<std::vector<int64_t>> loads;

  absl::StatusOr<PlanBody> To(const From& from) const {
    return CarryOver(plan, from, loads, layout, LimitsFor(job, layout, static_cast<int>(from.size())));
  }
};

TEST(CarryOver, WhoStaysKeepsWhatItHeld) {
  FourRanks f;
  f.plan.layers[0].slots[1][2] = ExpertId(3);  // a copy, so that expert 3 outlives rank 3
  f.plan.speeds[2] = 30000;
  const PlanBody next = f.To({Rank(2), Rank(1)}).value();
  ASSERT_EQ(next.speeds.size(), 2u);
  EXPECT_EQ(next.speeds[0], 30000u);
  EXPECT_EQ(At(next, 0, 0), E(2));
  EXPECT_EQ(At(next, 1, 0), E(1));
  EXPECT_EQ(At(next, 1, 2), E(3)) << "in the slot where it was";
  for (size_t b = 0; b < next.homes.size(); ++b) {
    const std::optional<ExpertId> expert = f.layout.parameter_of(BlockId(static_cast<int32_t>(b))).expert;
    if (f.plan.homes[b] == Rank(2)) {
      EXPECT_EQ(next.homes[b], Rank(0)) << "block " << b;
    }
    if (f.plan.homes[b] == Rank(1)) {
      EXPECT_EQ(next.homes[b], Rank(1)) << "block " << b;
    }
    if (expert == ExpertId(3)) {
      EXPECT_EQ(next.homes[b], Rank(1)) << "where its slot is";
    }
  }
}

TEST(CarryOver, WhatWasLostGoesToTheLeastLoaded) {
  FourRanks f;
  f.loads = {{10, 50, 20, 40}};
  // Ranks 0 and 1 carry 10 and 50: expert 3 (40) goes to rank 0 and makes them equal, expert 2 to rank 1,
  // which holds fewer.
  const PlanBody next = f.To({Rank(0), Rank(1)}).value();
  EXPECT_EQ(At(next, 0, 1), E(3));
  EXPECT_EQ(At(next, 1, 1), E(2));
  // A slow rank counts as loaded.
  f.plan.speeds[0] = 1 << 14;
  EXPECT_EQ(At(f.To({Rank(0), Rank(1)}).value(), 0, 1), E(3)) << "40 against 50";
  EXPECT_EQ(At(f.To({Rank(0), Rank(1)}).value(), 1, 1), E(2)) << "200 against 50";
}

TEST(CarryOver, OneThatIsReplacedLeavesItsPlaceToTheNext) {
  FourRanks f;
  const PlanBody next = f.To({Rank(0), std::nullopt, Rank(2), Rank(3)}).value();
  EXPECT_EQ(next.layers, f.plan.layers);
  for (size_t b = 0; b < next.homes.size(); ++b) {
    if (f.plan.homes[b] != Rank(1)) {
      EXPECT_EQ(next.homes[b], f.plan.homes[b]) << "block " << b;
    }
  }
}

TEST(CarryOver, ANewRankTakesItsShare) {
  FourRanks f;
  f.plan = *ContiguousPlan(f.job, f.layout, 2);  // 0, 1 and 2, 3
  f.loads = {{40, 20, 15, 15}};
  const PlanBody next = f.To({Rank(0), Rank(1), std::nullopt}).value();
  EXPECT_EQ(At(next, 0, 0), E(0));
  EXPECT_EQ(At(next, 0, 1), Slot());
  EXPECT_EQ(At(next, 2, 0), E(1)) << "expert 0 would only turn the tables";
  EXPECT_EQ(At(next, 1, 0), E(2));
  EXPECT_EQ(At(next, 1, 1), E(3));
  // Dense homes go there, too.
  EXPECT_GT(HomeElements(next.homes, f.layout, 3)[2], f.layout.expert_elements());
}

TEST(CarryOver, ACopyMakesRoom) {
  FourRanks f;
  f.job.placement.slots_per_rank = 2;
  f.plan = *ContiguousPlan(f.job, f.layout, 4);
  f.plan.layers[0].slots[0][1] = ExpertId(1);
  f.plan.layers[0].slots[2][1] = ExpertId(1);
  // Ranks 0 and 2 hold 0, 1 and 2, 1: expert 3 takes the place of a copy, at the rank with more to do.
  f.loads = {{10, 10, 20, 10}};
  const PlanBody next = f.To({Rank(0), Rank(2)}).value();
  EXPECT_EQ(At(next, 0, 1), E(1));
  EXPECT_EQ(At(next, 1, 1), E(3));
}

TEST(CarryOver, TooFewSlotsAreAnError) {
  FourRanks f;
  EXPECT_EQ(f.To({Rank(1)}).status().message(), "layer 0: 4 experts, and 1 ranks of 3 slots");
}

TEST(CarryOver, IsValidWhateverIsLeftAndTheSameEveryTime) {
  const JobConfig job = testing::SmallJob(2, 6, 4);
  const ParameterLayout layout = testing::LayoutOf(job);
  const PlanBody first = *ContiguousPlan(job, layout, 4);
  Rng rng(11);
  std::cout << "seed 11\n";
  int kept = 0;
  for (int i = 0; i < 1000; ++i) {
    PlanBody plan = first;
    for (LayerPlan& layer : plan.layers) layer = testing::RandomLayer(rng, 4, 4, 6);
    plan.speeds = testing::RandomSpeeds(rng, 4);
    plan.homes = PreferredHomes(plan, layout);
    // Some stay, some are new, in any order.
    From from;
    for (int r = 0; r < 4; ++r) {
      if (rng.Chance(0.6)) from.emplace_back(Rank(r));
    }
    const size_t survivors = from.size();
    for (uint64_t n = rng.Below(4); n > 0; --n) from.emplace_back(std::nullopt);
    for (size_t at = from.size(); at > 1; --at) std::swap(from[at - 1], from[rng.Below(at)]);
    std::vector<std::vector<int64_t>> loads(rng.Chance(0.2) ? 0 : 2);
    for (auto& layer : loads) {
      for (int e = 0; e < 6; ++e) layer.push_back(rng.Chance(0.2) ? 0 : rng.Between(1, 1000));
    }
    if (from.size() < 2) continue;  // 1 rank of 4 slots does not hold 6 experts
    const int ranks = static_cast<int>(from.size());
    const PlanLimits limits = LimitsFor(job, layout, ranks);
    const absl::StatusOr<PlanBody> next = CarryOver(plan, from, loads, layout, limits);
    ASSERT_TRUE(next.ok()) << next.status() << " on " << ranks << " ranks, round " << i;
    EXPECT_TRUE(ValidatePlan(*next, layout, limits).ok());
    EXPECT_EQ(*next, CarryOver(plan, from, loads, layout, limits).value());
    if (survivors < from.size()) continue;
    // Without new ranks, what survivors held and is not a copy stays where it was.
    for (size_t l = 0; l < 2; ++l) {
      const auto hosts = next->layers[l].Hosts(6);
      for (size_t r = 0; r < from.size(); ++r) {
        const std::vector<Slot>& before = plan.layers[l].slots[from[r]->index()];
        for (size_t s = 0; s < before.size(); ++s) {
          if (!before[s].has_value() || next->layers[l].slots[r][s] == before[s]) continue;
          EXPECT_FALSE(hosts[before[s]->index()].empty());
          EXPECT_EQ(hosts[before[s]->index()].size() + 1, [&] {
            size_t copies = 0;
            for (const std::optional<Rank>& old : from)
              copies += plan.layers[l].SlotIndex(*old, *before[s]).has_value();
            return copies;
          }()) << "only a copy gives way";
        }
      }
    }
    ++kept;
  }
  EXPECT_GT(kept, 100);
}

}  // namespace
}  // namespace ballast
