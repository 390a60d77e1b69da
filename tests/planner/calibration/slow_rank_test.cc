// A job of 16 ranks of which one becomes slow: is it found, and does the planner make up for it?
//
// The generator (loads, times, noise) is the test's own; what a step takes is the busiest rank's tokens over
// its true speed, the ideal is all tokens over all speeds.
#include <algorithm>
#include <cmath>
#include <iostream>
#include <numeric>
#include <vector>

#include "coordinator/planner/calibration/calibration.h"
#include "coordinator/planner/layer/layer_strategy.h"
#include "coordinator/planner/layer/predictor_bank.h"
#include "gtest/gtest.h"
#include "plan/balance.h"
#include "tests/planner/calibration/noise.h"

namespace ballast {
namespace {

constexpr int kRanks = 16, kSlots = 3, kExperts = 32, kSteps = 400, kSlowFrom = 100, kSlowRank = 5;
constexpr double kMsPerToken = 0.01;
constexpr double kKept = 0.9995;  // of a load's logarithm from step to step: 2.5 % drift a step

struct Outcome {
  int found_after = 0;  // steps; 0 = never
  int false_alarms = 0;
  double estimate = 1;  // speed, at the end
  double over_ideal = 0;
  double over_ideal_after = 0;  // from the change on
  std::vector<Reaction> reactions;
};

class DriftingLoad {
 public:
  explicit DriftingLoad(uint64_t seed) : rng_(seed) {
    for (int e = 0; e < kExperts; ++e) logs_.push_back(0.8 * rng_.Normal());
  }
  std::vector<int64_t> Next() {
    std::vector<double> shares;
    for (double& log : logs_) {
      log = kKept * log + 0.8 * std::sqrt(1 - kKept * kKept) * rng_.Normal();
      shares.push_back(std::exp(log));
    }
    const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
    std::vector<int64_t> tokens;
    for (double share : shares) tokens.push_back(std::llround(65536 * share / sum));
    return tokens;
  }

 private:
  Rng rng_;
  std::vector<double> logs_;
};

Outcome RunJob(uint64_t seed, double slow_speed, bool calibrate) {
  Rng rng(seed);
  DriftingLoad load(seed + 1000);
  LayerTask task = UniformTask(std::vector<int64_t>(kExperts, 1), kRanks, kSlots, 8);
  SlotTable table = ContiguousTable(task);
  PredictorBank bank(kExperts, 5);
  ResourceClass compute(Resource::kCompute, kRanks);
  const LayerStrategyPtr strategy = *LayerStrategies().Find("auto");
  std::vector<std::vector<int64_t>> recent;
  Outcome outcome;
  double took = 0, ideal = 0, took_after = 0, ideal_after = 0;
  for (int step = 1; step <= kSteps; ++step) {
    std::vector<double> speed(kRanks, 1);
    if (step > kSlowFrom) speed[kSlowRank] = slow_speed;
    const std::vector<int64_t> tokens = load.Next();
    const std::vector<std::vector<Rank>> hosts = HostsOf(table, kExperts);
    const std::vector<int64_t> ranks = RankTokens(BalanceExactly(tokens, hosts, task.speeds), hosts, kRanks);

    double busiest = 0;
    std::vector<std::optional<ResourceClass::Sample>> samples(kRanks);
    for (size_t g = 0; g < kRanks; ++g) {
      const double ms = kMsPerToken * static_cast<double>(ranks[g]) / speed[g];
      busiest = std::max(busiest, ms);
      if (ranks[g] > 0)
        samples[g] = ResourceClass::Sample{static_cast<double>(ranks[g]), testing::Noisy(rng, 0.2 + ms)};
    }
    const double total = static_cast<double>(std::accumulate(tokens.begin(), tokens.end(), int64_t{0}));
    const double best = kMsPerToken * total / std::accumulate(speed.begin(), speed.end(), 0.0);
    if (step > 20) {  // the start, from the contiguous placement, is another matter
      took += busiest;
      ideal += best;
    }
    if (step > kSlowFrom) {
      took_after += busiest;
      ideal_after += best;
    }

    const std::vector<uint32_t> before = task.speeds;
    for (const SlowEvent& event : compute.Observe(Step(step), samples)) {
      if (!event.slow) continue;
      outcome.reactions.push_back(ReactTo(event.resource, event.slowdown));
      const bool right = event.member == kSlowRank && step > kSlowFrom;
      if (right && outcome.found_after == 0) outcome.found_after = step - kSlowFrom;
      outcome.false_alarms += !right;
    }
    if (calibrate) task.speeds = SpeedsOf(compute.slowdowns());
    bank.Observe(tokens);
    recent.insert(recent.begin(), tokens);
    if (recent.size() > 20) recent.pop_back();
    if (step % 5 != 0 && task.speeds == before) continue;
    task.load = bank.Forecast();
    LayerView view{task, table, recent, RelativeCosts(task, 0, 0.02), step <= 5};
    if (const auto choice = strategy->Choose(view)) table = choice->table;
  }
  outcome.estimate = 1 / compute.slowdowns()[kSlowRank];
  outcome.over_ideal = took / ideal;
  outcome.over_ideal_after = took_after / ideal_after;
  return outcome;
}

TEST(SlowRank, IsFoundAndMadeUpFor) {
  int worst = 0, false_alarms = 0;
  double mean_time = 0, worst_time = 0;
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    const Outcome outcome = RunJob(seed, 0.6, true);
    ASSERT_GT(outcome.found_after, 0) << "seed " << seed;
    worst = std::max(worst, outcome.found_after);
    worst_time = std::max(worst_time, outcome.over_ideal);
    mean_time += outcome.over_ideal / 10;
    false_alarms += outcome.false_alarms;
    EXPECT_NEAR(outcome.estimate, 0.6, 0.03) << "seed " << seed;
    ASSERT_FALSE(outcome.reactions.empty());
    EXPECT_EQ(outcome.reactions[0], Reaction::kReplan);
  }
  std::cout << "without a slow rank " << RunJob(1, 1, true).over_ideal << "\n";
  const Outcome blind = RunJob(1, 0.6, false);
  std::cout << "speed 0.6: found after at most " << worst << " steps; time over ideal " << mean_time
            << ", at most " << worst_time << " (blind " << blind.over_ideal << ", after the change "
            << blind.over_ideal_after << ")\n";
  EXPECT_LE(worst, 8);
  EXPECT_LE(mean_time, 1.05);
  EXPECT_LE(worst_time, 1.06) << "of one run; without a slow rank the same run has up to 1.046";
  EXPECT_GE(blind.over_ideal_after, 1.3) << "there is something to make up for";
  EXPECT_LE(false_alarms, 1) << "of " << 10 * kSteps * kRanks << " samples";
}

}  // namespace
}  // namespace ballast
