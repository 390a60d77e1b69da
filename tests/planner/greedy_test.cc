#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>

#include "coordinator/planner/home_prices.h"
#include "plan/home_moves.h"
#include "tests/planner/loop.h"

namespace ballast {
namespace {

using testing::Draw;
using testing::Loads;
using testing::Loop;

// Two MoE layers of 8 experts on 4 ranks of 3 slots: 4 spare slots.
JobConfig Job() { return testing::SmallJob(2, 8, 3); }
constexpr int kRanks = 4;
constexpr int64_t kTokens = 4096;  // assignments of a step and layer: a small job, so the noise is large

const std::vector<double> kEven(8, 1.0);
const std::vector<double> kSkewed = {8, 4, 2, 1, 1, 1, 1, 1};
const std::vector<double> kDrifted = {1, 1, 1, 1, 1, 2, 4, 8};

TEST(Greedy, BalancedLoadMakesNoPlan) {
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    Rng rng(seed);
    Loop loop(Job(), kRanks);
    for (int s = 0; s < 200; ++s) loop.Run({Draw(rng, kEven, kTokens), Draw(rng, kEven, kTokens)});
    EXPECT_TRUE(loop.plans.empty()) << "seed " << seed << "\n" << loop.Describe();
  }
  Loop exact(Job(), kRanks);
  for (int s = 0; s < 200; ++s) exact.Run({std::vector<int64_t>(8, 500), std::vector<int64_t>(8, 500)});
  EXPECT_TRUE(exact.plans.empty()) << exact.Describe();
}

TEST(Greedy, SkewedLoadIsFixedOnceAndThenStaysQuiet) {
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    Rng rng(seed);
    Loop loop(Job(), kRanks);
    double before = 0, after = 0;
    for (int s = 1; s <= 200; ++s) {
      loop.Run({Draw(rng, kSkewed, kTokens), Draw(rng, kDrifted, kTokens)});
      (s <= 5 ? before : s > 180 ? after : *std::make_unique<double>()) += loop.imbalance;
    }
    EXPECT_GT(before / 5, 1.8) << "the test's load is not skewed";
    EXPECT_LT(after / 20, 1.06) << "seed " << seed << "\n" << loop.Describe();
    EXPECT_GE(loop.SlotPlans(), 1);
    EXPECT_LE(loop.SlotPlans(), 2) << "seed " << seed << "\n" << loop.Describe();
    EXPECT_EQ(loop.SlotPlans(60), 0) << "seed " << seed << "\n" << loop.Describe();
    // Homes have followed.
    EXPECT_EQ(PreferredHomes(loop.current, loop.layout), loop.current.homes) << loop.Describe();
    EXPECT_LE(loop.plans.size(), 4u) << loop.Describe();
  }
}

TEST(Greedy, DriftIsFollowed) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    Rng rng(seed);
    Loop loop(Job(), kRanks);
    double after = 0;
    for (int s = 1; s <= 200; ++s) {
      const auto& shares = s <= 100 ? kSkewed : kDrifted;
      loop.Run({Draw(rng, shares, kTokens), Draw(rng, shares, kTokens)});
      if (s > 180) after += loop.imbalance;
    }
    EXPECT_LT(after / 20, 1.06) << "seed " << seed << "\n" << loop.Describe();
    EXPECT_GE(loop.SlotPlans(101), 1) << "seed " << seed << "\n" << loop.Describe();
    EXPECT_LE(loop.SlotPlans(101), 2) << "seed " << seed << "\n" << loop.Describe();
  }
}

// Alternations whose gap is below the cost must move nothing, whatever their period.
TEST(Greedy, AlternatingLoadBelowItsCostMakesNoPlan) {
  const std::vector<int64_t> even(8, 512);
  const std::vector<int64_t> slightly = {530, 530, 512, 512, 512, 512, 494, 494};
  const std::vector<int64_t> left = {700, 700, 512, 512, 512, 512, 324, 324};
  const std::vector<int64_t> right = {324, 324, 512, 512, 512, 512, 700, 700};
  // Expert 0 is always hot, and one of the others beside it in turn: without spare slots no placement suits
  // all phases, and each loses 0.4 of a layer step while expert 0 shares its rank with the other hot one.
  std::vector<std::vector<int64_t>> in_turn;
  for (int other = 1; other < 8; ++other) {
    in_turn.push_back({800, 400, 400, 400, 400, 400, 400, 400});
    in_turn.back()[other] = 800;
  }
  struct Alternation {
    const char* name;
    int slots_per_rank;
    int period;
    std::vector<std::vector<int64_t>> phases;
    double slot_write_cost;
  };
  const Alternation alternations[] = {
      {"small gap, every step", 3, 1, {slightly, even}, 0.02},
      {"small gap, long phases", 3, 40, {slightly, even}, 0.02},
      {"a phase of ten steps loses 8, two layers' exchanges cost 10", 2, 10, in_turn, 2.5},
      {"fifty steps lose 37, two writes cost 40", 3, 10, {left, right}, 20},
  };
  for (const Alternation& alternation : alternations) {
    JobConfig job = testing::SmallJob(2, 8, alternation.slots_per_rank);
    job.planner.slot_write_cost = alternation.slot_write_cost;
    Loop loop(job, kRanks);
    for (int s = 0; s < 400; ++s) {
      const auto& tokens = alternation.phases[s / alternation.period % alternation.phases.size()];
      loop.Run({tokens, tokens});
    }
    EXPECT_TRUE(loop.plans.empty()) << alternation.name << "\n" << loop.Describe();
    // The same load with writes that cost nothing does move, unless its gap is small.
    job.planner.slot_write_cost = 0;
    Loop free_writes(job, kRanks);
    for (int s = 0; s < 400; ++s) {
      const auto& tokens = alternation.phases[s / alternation.period % alternation.phases.size()];
      free_writes.Run({tokens, tokens});
    }
    EXPECT_EQ(free_writes.SlotPlans() == 0, alternation.slot_write_cost < 1) << alternation.name << "\n"
                                                                             << free_writes.Describe();
  }
}

// A small alternation around an uneven mean: one placement serves both phases, and that is found once.
TEST(Greedy, FastAlternationsAreAbsorbedByTheSplit) {
  Loop loop(Job(), kRanks);
  for (int s = 0; s < 300; ++s) {
    const std::vector<int64_t> tokens = s % 2 ? std::vector<int64_t>{1200, 600, 512, 512, 400, 400, 236, 236}
                                              : std::vector<int64_t>{1000, 800, 500, 524, 412, 388, 256, 216};
    loop.Run({tokens, tokens});
  }
  EXPECT_LE(loop.SlotPlans(), 2) << loop.Describe();
  EXPECT_EQ(loop.SlotPlans(60), 0) << loop.Describe();
  EXPECT_LT(loop.imbalance, 1.03) << loop.Describe();
}

// Loads as in early training: they wander for good and every step scatters around them by a tenth.
TEST(Greedy, WanderingLoadIsFollowedWithFewPlans) {
  double static_mean = 0, planned_mean = 0;
  int plans = 0, writes = 0;
  const int seeds = 5, steps = 400;
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    Rng rng(seed);
    Loop loop(Job(), kRanks);
    const PlanBody first = loop.current;
    std::vector<std::vector<double>> logs(2, std::vector<double>(8, 0));
    for (int s = 0; s < steps; ++s) {
      Loads loads;
      for (auto& layer : logs) {
        std::vector<double> shares;
        for (double& value : layer) {
          value = 0.99 * value + std::sqrt(1 - 0.99 * 0.99) * 0.6 * rng.Normal();
          shares.push_back(std::exp(value + 0.1 * rng.Normal()));
        }
        loads.push_back(Draw(rng, shares, kTokens));
      }
      loop.Run(loads);
      planned_mean += loop.imbalance / steps / seeds;
      static_mean += PlannedImbalance(loads, first, first.speeds) / steps / seeds;
    }
    plans += loop.SlotPlans();
    for (const auto& plan : loop.plans) writes += plan.slot_writes;
    EXPECT_LE(loop.SlotPlans(), steps / 30) << "seed " << seed << "\n" << loop.Describe();
  }
  std::printf("contiguous %.3f, greedy %.3f, plans a run %.1f, slot writes a run %.1f\n", static_mean,
              planned_mean, static_cast<double>(plans) / seeds, static_cast<double>(writes) / seeds);
  EXPECT_LT(planned_mean - 1, (static_mean - 1) / 4);
}

TEST(Greedy, ReplicatesTheHottestAndKeepsWhatCanStay) {
  Loop loop(Job(), kRanks);
  const std::vector<int64_t> hot = {1600, 400, 400, 400, 400, 400, 400, 400};
  for (int s = 0; s < 8; ++s) loop.Run({hot, hot});
  ASSERT_EQ(loop.plans.size(), 1u) << loop.Describe();
  EXPECT_THAT(loop.plans[0].reason, ::testing::StartsWith("imbalance 1.82 -> 1.00 predicted, "));
  const auto hosts = loop.current.layers[0].Hosts(8);
  EXPECT_GE(hosts[0].size(), 2u);
  // The even experts have no reason to move all at once.
  const PlanBody first = *ContiguousPlan(loop.job, loop.layout, kRanks);
  int kept = 0;
  for (int e = 0; e < 8; ++e) {
    const Rank old = ContiguousRank(e, 8, kRanks);
    kept += loop.current.layers[0].SlotIndex(old, ExpertId(e)).has_value();
  }
  EXPECT_EQ(kept, 8) << loop.Describe();
  EXPECT_EQ(Diff(first, loop.current, loop.layout).slot_writes.size(), 6u)
      << "three copies in each layer are enough";
}

TEST(Greedy, ASlowRankGetsLess) {
  Loop loop(Job(), kRanks);
  loop.speeds[2] = 32768;
  Rng rng(3);
  for (int s = 0; s < 60; ++s) loop.Run({Draw(rng, kEven, kTokens), Draw(rng, kEven, kTokens)});
  EXPECT_EQ(loop.current.speeds[2], 32768u);
  EXPECT_LT(loop.imbalance, 1.08) << loop.Describe();
  EXPECT_LE(loop.SlotPlans(), 2) << loop.Describe();
}

TEST(Greedy, HomesFollowInBoundedPieces) {
  JobConfig job = Job();
  job.placement.home_move_bytes_max = 1000;
  Loop loop(job, kRanks);
  Rng rng(4);
  for (int s = 0; s < 600; ++s) loop.Run({Draw(rng, kSkewed, kTokens), Draw(rng, kSkewed, kTokens)});
  EXPECT_LE(loop.SlotPlans(), 2) << loop.Describe();
  EXPECT_GE(loop.plans.size(), 4u) << "the bound was never felt\n" << loop.Describe();
  // What has not moved would gain nothing.
  for (size_t l = 0; l < loop.current.layers.size(); ++l) {
    const auto hosts = loop.current.layers[l].Hosts(loop.layout.experts());
    const auto homes = ExpertHomesOf(loop.current.homes, loop.layout, l);
    for (size_t e = 0; e < homes.size(); ++e) {
      const HomeCosts bytes{1, 1, 1, 1, 3};
      EXPECT_EQ(RentOf(hosts[e], homes[e], std::vector<int>(kRanks, 0), bytes).a_step, 0)
          << "layer " << l << ", expert " << e << "\n"
          << loop.Describe();
    }
  }
  EXPECT_THAT(loop.plans.back().reason, ::testing::StartsWith("homes follow their slots: "));
}

// Whatever the shape and the load, every proposal is a valid plan and a valid next plan, and better on the
// forecast.
TEST(Greedy, EveryProposalIsValid) {
  const uint64_t seed = 1001;
  Rng rng(seed);
  int proposals = 0, full = 0, sparse = 0, unequal = 0;
  for (int round = 0; round < 1000; ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed) + " round " + std::to_string(round));
    const int ranks = static_cast<int>(rng.Between(1, 8));
    const int experts = static_cast<int>(rng.Between(1, 12));
    const int slots = (experts + ranks - 1) / ranks + static_cast<int>(rng.Between(0, 2));
    JobConfig job = testing::SmallJob(static_cast<int>(rng.Between(1, 2)), experts, slots);
    job.planner.warmup_steps = 0;
    job.planner.min_gain = rng.Chance(0.5) ? 0 : 0.05;
    job.planner.slot_write_cost = rng.Chance(0.5) ? 0 : 0.02;
    if (rng.Chance(0.3)) job.placement.home_move_bytes_max = rng.Between(240, 3000);
    Loop loop(job, ranks);
    // Start anywhere, not only from the contiguous plan.
    if (rng.Chance(0.7)) {
      for (LayerPlan& layer : loop.current.layers) layer = testing::RandomLayer(rng, ranks, slots, experts);
    }
    for (int look = 0; look < 3; ++look) {
      if (rng.Chance(0.3)) loop.speeds = testing::RandomSpeeds(rng, ranks);
      for (uint32_t& speed : loop.speeds) speed = std::clamp<uint32_t>(speed, 1, 1 << 20);
      Loads loads;
      for (size_t l = 0; l < loop.current.layers.size(); ++l) {
        loads.emplace_back();
        const bool nothing = rng.Chance(0.1);
        for (int e = 0; e < experts; ++e) {
          loads.back().push_back(
              nothing || rng.Chance(0.2) ? 0 : rng.Between(0, rng.Chance(0.2) ? 1000000 : 1000));
        }
      }
      ++loop.step;
      ASSERT_TRUE(loop.history.Observe({Step(loop.step), loads}).ok());
      const PlanInput input = loop.Input();
      const PlannerPtr planner = *Planners().Find("greedy");
      if (const Proposal proposal = planner->Propose(input); proposal.body) {
        ++proposals;
        full += ranks * slots == experts;
        sparse += ranks > experts;
        unequal += loop.speeds != std::vector<uint32_t>(loop.speeds.size(), 65536);
        ASSERT_TRUE(ValidatePlan(*proposal.body, loop.layout, loop.limits).ok())
            << ValidatePlan(*proposal.body, loop.layout, loop.limits);
        ASSERT_TRUE(ValidateTransition(loop.current, *proposal.body, loop.layout, loop.limits).ok())
            << ValidateTransition(loop.current, *proposal.body, loop.layout, loop.limits);
        EXPECT_EQ(proposal.body->homes, loop.current.homes);
        EXPECT_LE(proposal.imbalance_after, proposal.imbalance_before + 1e-9);
        loop.current = *proposal.body;
      }
      if (const auto homes = planner->ProposeHomes(loop.Input())) {
        ASSERT_TRUE(ValidateTransition(loop.current, *homes, loop.layout, loop.limits).ok())
            << ValidateTransition(loop.current, *homes, loop.layout, loop.limits);
        EXPECT_EQ(homes->layers, loop.current.layers);
        loop.current = *homes;
      }
    }
  }
  EXPECT_GT(proposals, 800);
  EXPECT_GT(full, 50);
  EXPECT_GT(sparse, 50);
  EXPECT_GT(unequal, 50);
}

// Quality against the bound that no placement can beat: a perfectly even load, or the hottest expert on its
// own rank(s).
TEST(Greedy, SpareSlotsBringSkewedLoadsCloseToEven) {
  Rng rng(6);
  double before = 0, after = 0;
  const int rounds = 40;
  for (int round = 0; round < rounds; ++round) {
    JobConfig job = testing::SmallJob(1, 32, 6);  // 8 ranks: 16 spare slots
    Loop loop(job, 8);
    std::vector<double> shares;
    for (int e = 0; e < 32; ++e) shares.push_back(std::exp(rng.Normal()));
    loop.Run({Draw(rng, shares, 1 << 20)}, false);
    const auto proposal = (*Planners().Find("greedy"))->Propose(loop.Input());
    before += PlannedImbalance(loop.history.samples().back(), loop.current);
    after += proposal.imbalance_after;
  }
  RecordProperty("mean_before", std::to_string(before / rounds));
  RecordProperty("mean_after", std::to_string(after / rounds));
  EXPECT_GT(before / rounds, 1.5);
  EXPECT_LT(after / rounds, 1.01) << "before " << before / rounds;
}

}  // namespace
}  // namespace ballast
