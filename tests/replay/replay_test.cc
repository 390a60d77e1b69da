#include "replay/replay.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "tests/replay/kept_plans.h"

namespace ballast {
namespace {

// Skewed loads that drift: the logarithm of each expert's load is a bounded random walk.
LoadTrace DriftingTrace(uint64_t seed, int steps, int layers, int experts) {
  Rng rng(seed);
  std::vector<int64_t> tokens;
  std::vector<double> level(static_cast<size_t>(layers * experts));
  for (double& x : level) x = rng.Normal();
  for (int s = 0; s < steps; ++s) {
    for (double& x : level) x = 0.999 * x + 0.04 * rng.Normal();
    for (int l = 0; l < layers; ++l) {
      for (int m = 0; m < 2; ++m) {
        for (int e = 0; e < experts; ++e) {
          tokens.push_back(static_cast<int64_t>(
              1000 * std::exp(level[static_cast<size_t>(l * experts + e)] + 0.02 * rng.Normal())));
        }
      }
    }
  }
  return LoadTrace(steps, layers, 2, experts, tokens);
}

ReplayOptions Options(const std::string& strategy) {
  ReplayOptions options;
  options.strategy = strategy;
  options.ranks = 4;
  options.slots = 5;
  return options;
}

TEST(Replay, FiguresByHand) {
  // Two ranks of one slot: nothing can move. Busiest / mean: 3 of 2, then 9 of 5.
  const LoadTrace trace(2, 1, 1, 2, {1, 3, 9, 1});
  ReplayOptions options = Options("contiguous");
  options.ranks = 2;
  options.slots = 1;
  options.costs = ReplayCosts();
  const ReplayFigures figures = Replay(trace, options).value().figures;
  EXPECT_NEAR(figures.max_over_mean, 12.0 / 7, 1e-12);
  EXPECT_NEAR(figures.static_max_over_mean, 12.0 / 7, 1e-12);
  EXPECT_NEAR(*figures.bound_no_replicas, 12.0 / 7, 1e-9);
  EXPECT_FALSE(figures.share_of_oracle_gain);  // there is nothing to gain
  const double per_token = 12.0 * 2048 * 8192 / 300e12 + 4 * 2048 / 45e9;
  EXPECT_NEAR(figures.hours->step, 12 * 10 * per_token / 3600, 1e-15);
  EXPECT_EQ(figures.hours->sync, 0);
  options.from = 1;
  EXPECT_NEAR(Replay(trace, options).value().figures.max_over_mean, 9.0 / 5, 1e-12);
}

TEST(Replay, SyncAndMigrationByHand) {
  // Row 2 is the first that flow_repair plans with SplitPack; expert 0 ends on both ranks.
  std::vector<int64_t> tokens;
  for (int s = 0; s < 4; ++s) tokens.insert(tokens.end(), {3000, 1000});
  const LoadTrace trace(4, 1, 1, 2, tokens);
  ReplayOptions options = Options("splitpack");
  options.ranks = 2;
  options.slots = 2;
  options.costs = ReplayCosts();
  const ReplayWithPlans result = ReplayAndKeep(trace, options).value();
  ASSERT_EQ(result.plans.size(), 2u);
  EXPECT_EQ(result.plans[1].step, 1);
  EXPECT_EQ(result.figures.slot_writes_per_layer, 1);
  EXPECT_NEAR(result.figures.max_over_mean, (3000.0 + 3 * 2000) / (4 * 2000), 1e-12);
  EXPECT_NEAR(result.figures.hours->migration, 470e6 / 45e9 / 3600, 1e-15);
  EXPECT_NEAR(result.figures.hours->sync, 3 * 10 * 2 * 67e6 * 0.5 / 45e9 / 3600, 1e-15);
}

TEST(Replay, HomeCostsByHand) {
  std::vector<int64_t> tokens;
  for (int s = 0; s < 4; ++s) tokens.insert(tokens.end(), {3000, 1000});
  const LoadTrace trace(4, 1, 1, 2, tokens);
  ReplayOptions options = Options("splitpack");
  options.ranks = 2;
  options.ranks_per_node = 1;
  options.slots = 2;
  options.costs = ReplayCosts();
  options.costs->model = CostModel::kHome;
  options.costs->iterations_per_step = 1;
  const ReplayWithPlans result = ReplayAndKeep(trace, options).value();
  ASSERT_EQ(result.plans.size(), 2u);
  // From row 1 on expert 0 is on both ranks, at home on the first: 67 MB each way in a step. Homes on both
  // would save half of that, 67 MB of 201.5 MB a step, so they follow behind row 3 (3 x 67 = 201), not yet
  // here.
  EXPECT_NEAR(result.figures.hours->sync, 3 * 2 * 67e6 / 45e9 / 3600, 1e-15);
  EXPECT_EQ(result.figures.hours->migration, 0);
  options.costs->state_mb = 120;  // 60 MB move behind row 1
  const ReplayResult light = Replay(trace, options).value();
  EXPECT_NEAR(light.figures.hours->sync, (2 + 1 + 1) * 67e6 / 45e9 / 3600, 1e-15);
  EXPECT_NEAR(light.figures.hours->migration, 60e6 / 45e9 / 3600, 1e-15);
}

TEST(Replay, ATokenSampleKeepsExpertsTogether) {
  // Tokens choose 0 and 2, or 1 and 3; contiguous has them on different nodes.
  std::vector<int64_t> tokens;
  for (int s = 0; s < 3; ++s) tokens.insert(tokens.end(), {1000, 1000, 1000, 1000});
  const LoadTrace trace(3, 1, 1, 4, tokens);
  for (const char* strategy : {"coactivation", "kmeans", "genetic"}) {
    ReplayOptions options = Options(strategy);
    options.ranks = 2;
    options.ranks_per_node = 1;
    options.slots = 2;
    EXPECT_NE(std::string(Replay(trace, options).status().message()).find("needs a co-activation sample"),
              std::string::npos);
    options.together = {CountPairs({{0, 2}, {2, 0}, {1, 3}, {0, 2}, {3, 1}}, 4).value()};
    const ReplayWithPlans result = ReplayAndKeep(trace, options).value();
    ASSERT_EQ(result.plans.size(), 2u) << strategy;
    const auto hosts = HostsOf(result.plans[1].table, 4);
    EXPECT_EQ(hosts[0], hosts[2]) << strategy;
    EXPECT_EQ(hosts[1], hosts[3]) << strategy;
    options.ranks_per_node = 0;
    EXPECT_NE(std::string(Replay(trace, options).status().message()).find("found one node"),
              std::string::npos);
    options.ranks_per_node = 1;
    options.together = {CountPairs({{0, 1}}, 3).value()};
    EXPECT_NE(std::string(Replay(trace, options).status().message()).find("tokens: found 3"),
              std::string::npos);
  }
}

TEST(Replay, APlanNeverDependsOnWhatComesLater) {
  const LoadTrace all = DriftingTrace(71, 30, 2, 12);
  for (const char* strategy : {"auto", "flow_repair", "splitpack", "eplb", "smartmoe"}) {
    std::vector<int64_t> tokens;
    for (int s = 0; s < 30; ++s) {
      for (int l = 0; l < 2; ++l) {
        for (int m = 0; m < 2; ++m) {
          std::vector<int64_t> row = all.Microbatch(s, l, m);
          if (s >= 15) std::reverse(row.begin(), row.end());
          tokens.insert(tokens.end(), row.begin(), row.end());
        }
      }
    }
    const LoadTrace other(30, 2, 2, 12, tokens);
    auto until = [&](const LoadTrace& trace) {
      std::vector<std::pair<int, SlotTable>> plans;
      const ReplayWithPlans result = ReplayAndKeep(trace, Options(strategy)).value();
      for (const ReplayPlan& plan : result.plans) {
        if (plan.step <= 15) plans.push_back({plan.step, plan.table});
      }
      return plans;
    };
    const auto plans = until(all);
    EXPECT_GT(plans.size(), 2u) << strategy;
    EXPECT_EQ(plans, until(other)) << strategy;
  }
}

TEST(ReplayDeathTest, LookingAheadEndsTheProcess) {
  const LoadTrace trace = DriftingTrace(72, 3, 1, 4);
  const PastLoads past(trace, 1);
  EXPECT_EQ(past.Sample(0, 1), trace.Sample(0, 0));
  EXPECT_DEATH(past.Sample(0, 0), "asked for age 0");
  EXPECT_DEATH(past.Sample(0, 2), "asked for age 2");
}

// Two regimes in turn, ten rows each: `hot` times the load on an expert of one or the other half.
LoadTrace Alternating(uint64_t seed, int steps, double hot) {
  Rng rng(seed);
  std::vector<int64_t> tokens;
  for (int s = 0; s < steps; ++s) {
    for (int e = 0; e < 16; ++e) {
      const bool is_hot = e == (s / 10 % 2 == 0 ? 2 : 13);
      tokens.push_back(static_cast<int64_t>(10'000 * (is_hot ? hot : 1) * (0.99 + 0.02 * rng.Uniform())));
    }
  }
  return LoadTrace(steps, 1, 1, 16, tokens);
}

TEST(Replay, AlternatingLoadsDoNotThrash) {
  const uint64_t seed = 76;
  SCOPED_TRACE(seed);
  constexpr int kSteps = 200;
  const auto writes = [&](const char* strategy, double hot, double write_cost, int from) {
    ReplayOptions options = Options(strategy);
    options.write_cost = write_cost;
    options.from = from;
    return Replay(Alternating(seed, kSteps, hot), options).value().figures.slot_writes_per_layer;
  };
  // What ten rows lose is less than a write: nothing moves after two periods.
  EXPECT_EQ(writes("auto", 1.5, 8, 20), 0);
  // The gap is above the cost, but packing anew in every period would write much more.
  const double anew = writes("splitpack", 6, 0.02, 0);
  EXPECT_GT(anew, kSteps / 10);
  EXPECT_LT(writes("auto", 6, 0.02, 0), anew / 2);
}

TEST(Replay, RepairIsNearTheOracleWithFewWrites) {
  const uint64_t seed = 73;
  SCOPED_TRACE(seed);
  const LoadTrace trace = DriftingTrace(seed, 120, 3, 32);
  ReplayOptions options = Options("flow_repair");
  options.ranks = 8;
  options.from = 5;
  const ReplayFigures repair = Replay(trace, options).value().figures;
  options.strategy = "splitpack";
  const ReplayFigures pack = Replay(trace, options).value().figures;
  options.strategy = "eplb";
  options.every = 10;
  options.split = ReplaySplit::kFractions;
  const ReplayFigures eplb = Replay(trace, options).value().figures;
  EXPECT_GE(*repair.share_of_oracle_gain, 0.97);
  EXPECT_LE(repair.slot_writes_per_layer, 0.3 * pack.slot_writes_per_layer);
  EXPECT_LE(repair.writes_max, 8);
  EXPECT_LE(repair.max_over_mean - 1, (eplb.max_over_mean - 1) / 4);
  EXPECT_LE(*repair.bound_with_replicas, *repair.oracle_max_over_mean + 1e-9);
  EXPECT_LE(*repair.oracle_max_over_mean, repair.max_over_mean);
}

// Plans have shares if and only if figures are counted with them: who splits tokens by a plan's shares finds
// the same figure.
TEST(Replay, PlansHaveTheSharesThatFiguresAreCountedWith) {
  const uint64_t seed = 78;
  SCOPED_TRACE(seed);
  const LoadTrace trace = DriftingTrace(seed, 12, 1, 8);
  for (const char* strategy : {"contiguous", "eplb", "splitpack"}) {
    std::vector<double> found;
    for (const ReplaySplit split : {ReplaySplit::kExact, ReplaySplit::kFractions, ReplaySplit::kEven}) {
      ReplayOptions options = Options(strategy);
      options.slots = 3;
      options.split = split;
      const ReplayWithPlans result = ReplayAndKeep(trace, options).value();
      found.push_back(result.figures.max_over_mean);
      double busiest = 0, mean = 0;
      size_t next = 0;
      for (int step = 0; step < 12; ++step) {
        while (next < result.plans.size() && result.plans[next].step <= step) ++next;
        const ReplayPlan& plan = result.plans[next - 1];
        ASSERT_EQ(plan.fractions.empty(), split == ReplaySplit::kExact) << strategy;
        if (plan.fractions.empty()) continue;
        for (int m = 0; m < 2; ++m) {
          const std::vector<int64_t> tokens = trace.Microbatch(step, 0, m);
          std::vector<double> ranks;
          for (size_t g = 0; g < plan.table.size(); ++g) {
            ranks.push_back(0);
            for (size_t i = 0; i < plan.table[g].size(); ++i) {
              const int e = plan.table[g][i];
              if (e != kNoExpert)
                ranks.back() += static_cast<double>(tokens[e]) * plan.fractions[g][i] / 65536;
            }
          }
          busiest += *std::max_element(ranks.begin(), ranks.end());
          for (const double rank : ranks) mean += rank / 4;
        }
      }
      if (split != ReplaySplit::kExact) {
        // Whole tokens of some thousands.
        EXPECT_NEAR(found.back(), busiest / mean, 2e-3) << strategy;
      }
    }
    if (std::string(strategy) == "splitpack") {
      EXPECT_LT(found[0], found[1]);
      EXPECT_LT(found[1], found[2] - 0.02);
    }
  }
}

TEST(Replay, MoreSlotsNeverHurtWhenSyncIsCounted) {
  const LoadTrace trace = DriftingTrace(74, 60, 2, 32);
  double before = 1e300;
  for (const int slots : {5, 6, 8}) {
    ReplayOptions options = Options("auto");
    options.ranks = 8;
    options.slots = slots;
    options.costs = ReplayCosts();
    options.oracle = false;
    const ReplayFigures figures = Replay(trace, options).value().figures;
    EXPECT_LE(figures.hours->total(), 1.02 * before) << slots;
    before = std::min(before, figures.hours->total());
  }
}

// A rank has no use for more slots than experts: the most that is allowed gives what one for each expert
// gives.
TEST(Replay, SlotsBeyondTheExpertsChangeNothing) {
  const LoadTrace trace = DriftingTrace(77, 6, 2, 8);
  for (const char* strategy : {"auto", "splitpack", "eplb", "fastermoe_shadow"}) {
    const auto plans = [&](int ranks, int slots) {
      ReplayOptions options = Options(strategy);
      options.ranks = ranks;
      options.slots = slots;
      std::vector<SlotTable> tables;
      const ReplayWithPlans result = ReplayAndKeep(trace, options).value();
      for (const ReplayPlan& plan : result.plans) tables.push_back(plan.table);
      return tables;
    };
    EXPECT_EQ(plans(4, 8), plans(4, 65536)) << strategy;
  }
}

TEST(Replay, ImpossibleOptionsAreRefused) {
  const LoadTrace trace = DriftingTrace(75, 3, 1, 8);
  auto message = [&](auto change) {
    ReplayOptions options = Options("auto");
    change(options);
    return std::string(Replay(trace, options).status().message());
  };
  EXPECT_EQ(message([](ReplayOptions&) {}), "");
  EXPECT_NE(message([](ReplayOptions& o) { o.ranks = 0; }).find("gpus: found 0"), std::string::npos);
  EXPECT_NE(message([](ReplayOptions& o) { o.ranks_per_node = 3; }).find("a divisor of 4"),
            std::string::npos);
  EXPECT_NE(message([](ReplayOptions& o) { o.slots = 1; }).find("enough for 8 experts"), std::string::npos);
  EXPECT_NE(message([](ReplayOptions& o) { o.slots = 65537; }).find("found 65537, allowed is 0..65536"),
            std::string::npos);
  const LoadTrace wide(1, 1, 1, 5000, std::vector<int64_t>(5000, 1));
  ReplayOptions much = Options("contiguous");
  much.ranks = 16384;
  much.slots = 65536;
  EXPECT_EQ(Replay(wide, much).status().message(),
            "slots: found 81920000 of use in each of 1 layers, allowed is 67108864 in all layers");
  EXPECT_NE(message([](ReplayOptions& o) { o.every = 0; }).find("every: found 0"), std::string::npos);
  EXPECT_NE(message([](ReplayOptions& o) { o.from = 3; }).find("from: found 3"), std::string::npos);
  EXPECT_NE(message([](ReplayOptions& o) { o.strategy = "best"; }).find("unknown layer strategy"),
            std::string::npos);
  EXPECT_NE(message([](ReplayOptions& o) {
              o.costs = ReplayCosts();
              o.costs->nic_gbs = 0;
            }).find("costs: found 0"),
            std::string::npos);
}

}  // namespace
}  // namespace ballast
