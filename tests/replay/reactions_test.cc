// Each rung of the ladder of reactions is carried out in a replay, on generated times.
#include "replay/reactions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "coordinator/planner/layer/layer_strategy.h"
#include "replay/place.h"
#include "replay/replay.h"
#include "tests/replay/kept_plans.h"

namespace ballast {
namespace {

constexpr int kRanks = 4, kExperts = 8, kSteps = 240;

// A GPU or its port is at `speed` in steps [from, to).
struct Slow {
  Resource resource;
  int gpu;
  double speed;
  int from;
  int to = kSteps;
};

// Healthy ones take 1 ms for 1000 tokens and `nic_ms` for a million bytes; 3 % noise.
TelemetryTable Times(uint64_t seed, const std::vector<Slow>& slow, double noise = 0.03, double nic_ms = 1,
                     int ranks = kRanks, int steps = kSteps) {
  Rng rng(seed);
  std::string text = "step,gpu,tokens,compute_ms,nic_bytes,nic_ms\n";
  for (int step = 0; step < steps; ++step) {
    for (int gpu = 0; gpu < ranks; ++gpu) {
      const double tokens = std::round(4000 + 200 * rng.Uniform()), bytes = tokens * 1000;
      double compute = tokens / 1000 * std::exp(noise * rng.Normal());
      double nic = bytes / 1e6 * nic_ms * std::exp(noise * rng.Normal());
      for (const Slow& one : slow) {
        if (one.gpu != gpu || step < one.from || step >= one.to) continue;
        (one.resource == Resource::kCompute ? compute : nic) /= one.speed;
      }
      absl::StrAppend(&text, step, ",", gpu, ",", tokens, ",", compute, ",", bytes, ",", nic, "\n");
    }
  }
  return TelemetryTable::Parse(text, ranks, steps).value();
}

LoadTrace Skewed(uint64_t seed) {
  Rng rng(seed);
  std::vector<int64_t> tokens;
  for (int s = 0; s < kSteps; ++s) {
    for (int e = 0; e < kExperts; ++e) tokens.push_back(rng.Between(980, 1020) * (e < 2 ? 3 : 1));
  }
  return LoadTrace(kSteps, 1, 1, kExperts, tokens);
}

ReplayOptions Options(const TelemetryTable& times) {
  ReplayOptions options;
  options.ranks = kRanks;
  options.slots = 4;
  options.every = 50;
  options.telemetry = &times;
  return options;
}

TEST(Reactions, ALittleSlowAndTokensAreSplitForIt) {
  const TelemetryTable times = Times(1, {{Resource::kCompute, 3, 0.87, 60}});
  ReplayOptions options = Options(times);
  options.split = ReplaySplit::kFractions;
  options.from = 75;
  const ReplayWithPlans result = ReplayAndKeep(Skewed(2), options).value();
  ASSERT_EQ(result.slow.size(), 1u);
  EXPECT_EQ(result.slow[0].reaction, Reaction::kResplit);
  const int found = static_cast<int>(result.slow[0].event.step.value()) + 1;
  EXPECT_THAT(found, ::testing::AllOf(::testing::Gt(60), ::testing::Lt(80)));
  const auto plan = std::find_if(result.plans.begin(), result.plans.end(),
                                 [&](const ReplayPlan& one) { return one.step == found; });
  ASSERT_NE(plan, result.plans.end()) << "not at the next look, at once";
  EXPECT_EQ(plan->table, (plan - 1)->table) << "slots stay";
  const auto share = [](const ReplayPlan& one, size_t rank) {
    double sum = 0;
    for (size_t i = 0; i < one.table[rank].size(); ++i)
      sum += one.fractions[rank][i] / 65536.0 * (one.table[rank][i] < 2 ? 3 : 1);
    return sum;
  };
  EXPECT_NEAR(share(*plan, 3) / share(*plan, 0), 0.87, 0.06);
  EXPECT_NEAR(share(*(plan - 1), 3) / share(*(plan - 1), 0), 1, 0.03);
  EXPECT_LE(result.figures.max_over_mean, 1.04) << "tokens over speed";
}

TEST(Reactions, SlowerAndExpertsMoveAtOnce) {
  const TelemetryTable times = Times(3, {{Resource::kCompute, 0, 0.5, 60}});
  const ReplayWithPlans result = ReplayAndKeep(Skewed(4), Options(times)).value();
  ASSERT_EQ(result.slow.size(), 1u);
  EXPECT_EQ(result.slow[0].reaction, Reaction::kReplan);
  const int found = static_cast<int>(result.slow[0].event.step.value()) + 1;
  const auto plan = std::find_if(result.plans.begin(), result.plans.end(),
                                 [&](const ReplayPlan& one) { return one.step == found; });
  ASSERT_NE(plan, result.plans.end());
  EXPECT_NE(plan->table, (plan - 1)->table);
}

TEST(Reactions, ASlowPortMakesItsTokensDearer) {
  const TelemetryTable times = Times(5, {{Resource::kPort, 1, 0.4, 60}}, 0.03, 0.5);
  LayerTask task = UniformTask(std::vector<int64_t>(kExperts, 1), kRanks, 4, kRanks);
  Reactions measured(times, task, std::nullopt);
  EXPECT_EQ(measured.ObserveBefore(60, task), Reactions::Wanted::kNothing);
  EXPECT_TRUE(measured.port_slowdowns().empty());
  EXPECT_EQ(measured.ObserveBefore(150, task), Reactions::Wanted::kPlan);
  ASSERT_EQ(measured.taken().size(), 1u);
  EXPECT_EQ(measured.taken()[0].reaction, Reaction::kRaisePort);
  EXPECT_NEAR(measured.port_slowdowns()[1], 2.5, 0.1);
  EXPECT_EQ(measured.port_slowdowns()[0], 1);
  // A third of a token's time is its way: 2/3 + 1/3 * 2.5.
  EXPECT_NEAR(65536.0 / task.speeds[1], 1.5, 0.05);
  EXPECT_EQ(task.speeds[0], kHealthySpeed);
  Reactions told(times, task, 0.5);
  told.ObserveBefore(150, task);
  EXPECT_NEAR(65536.0 / task.speeds[1], 1.75, 0.06);

  ReplayOptions options = Options(times);
  options.from = 80;
  options.costs = ReplayCosts();
  options.costs->tflops = 12 * 2048 * 8192 / 1e12;  // a second for a token's computing
  options.costs->nic_gbs = 4 * 2048 / 1e9;          // and one for its way
  options.costs->weight_mb = options.costs->state_mb = 0;
  const ReplayWithPlans knows = ReplayAndKeep(Skewed(6), options).value();
  EXPECT_LE(knows.figures.max_over_mean, 1.03) << "tokens over what they take";
  // All over all, at best: 3 ranks at 2 s a token and one at 3.5.
  const double ideal = (kSteps - 80) * 12000 * 10 / (3 / 2.0 + 1 / 3.5) / 3600;
  EXPECT_NEAR(knows.figures.hours->step, ideal, 0.04 * ideal);
  options.strategy = "contiguous";
  const ReplayWithPlans stays = ReplayAndKeep(Skewed(6), options).value();
  EXPECT_GE(stays.figures.hours->step, 1.5 * ideal) << "a slow port counts";
}

TEST(Reactions, CopiesAndWritesOverASlowPortCostMore) {
  const TelemetryTable times = Times(7, {{Resource::kPort, 1, 0.5, 20}}, 0, 1, 2, 100);
  const LoadTrace trace(100, 1, 1, 2, std::vector<int64_t>(200, 1000));
  for (const CostModel model : {CostModel::kRing, CostModel::kHome}) {
    ReplayOptions options;
    options.ranks = 2;
    options.slots = 1;
    options.ranks_per_node = 1;
    options.strategy = "contiguous";
    options.from = 50;
    options.costs = ReplayCosts();
    options.costs->model = model;
    const double healthy = Replay(trace, options).value().figures.hours->step;
    options.telemetry = &times;
    const ReplayFigures figures = Replay(trace, options).value().figures;
    const double share = options.costs->PortShare();
    EXPECT_NEAR(figures.hours->step / healthy, 1 + share, 0.02) << "twice the port's part of the time";
    EXPECT_EQ(figures.hours->sync, 0) << "no copies";
  }
  // One copy of expert 0 away from it: a gradient and weights over a port that is twice as slow.
  LayerTask task = UniformTask({1, 1}, 2, 2, 1);
  const SlotTable table = {{0, kNoExpert}, {1, 0}};
  EXPECT_NEAR(SyncSlots(table, 2, {1, 2}), 2 * SyncSlots(table, 2), 1e-12);
  EXPECT_EQ(BusiestWrites({{0, kNoExpert}, {1, kNoExpert}}, table, {1, 2}), 2);
}

TEST(Reactions, TooSlowARankIsDrainedUntilItHeals) {
  const TelemetryTable times = Times(8, {{Resource::kCompute, 2, 0.2, 60, 120}});
  const CoactivationMatrix together = CountPairs({{0, 1}, {2, 3}, {4, 5}, {6, 7}}, kExperts).value();
  for (const std::string& name : LayerStrategies().Names()) {
    if (name == "contiguous") continue;  // it moves nothing, whatever happens
    SCOPED_TRACE(name);
    ReplayOptions options = Options(times);
    options.strategy = name;
    options.every = 10;
    if (UsesSample(name)) {
      options.together = {together};
      options.ranks_per_node = 2;
    }
    options.evaluations_max = 500;
    const absl::StatusOr<ReplayWithPlans> result = ReplayAndKeep(Skewed(9), options);
    ASSERT_TRUE(result.ok()) << result.status();
    ASSERT_GE(result->slow.size(), 2u);
    EXPECT_EQ(result->slow[0].event.member, 2);
    EXPECT_EQ(result->slow[0].reaction, Reaction::kDrain);
    const int drained = static_cast<int>(result->slow[0].event.step.value()) + 1;
    const int healed = static_cast<int>(result->slow.back().event.step.value()) + 1;
    EXPECT_EQ(result->slow.back().reaction, Reaction::kNone);
    EXPECT_GE(healed, 165) << "50 clean steps";
    bool empty = false, again = false;
    for (const ReplayPlan& plan : result->plans) {
      const auto& row = plan.table[2];
      const bool holds = std::any_of(row.begin(), row.end(), [](int e) { return e != kNoExpert; });
      if (plan.step >= drained && plan.step < healed) {
        EXPECT_FALSE(holds) << "step " << plan.step;
        empty = true;
      }
      again = again || (plan.step >= healed && holds);
    }
    EXPECT_TRUE(empty);
    EXPECT_TRUE(again);
  }
}

TEST(Reactions, ARankThatIsNeededIsNotDrained) {
  const TelemetryTable times = Times(10, {{Resource::kCompute, 2, 0.2, 60}});
  ReplayOptions options = Options(times);
  options.slots = kExperts / kRanks;
  const ReplayWithPlans result = ReplayAndKeep(Skewed(11), options).value();
  ASSERT_EQ(result.slow.size(), 1u);
  EXPECT_EQ(result.slow[0].reaction, Reaction::kReplan) << "the event says what was done";
  for (const ReplayPlan& plan : result.plans) EXPECT_EQ(plan.table[2].size(), 2u);
}

}  // namespace
}  // namespace ballast
