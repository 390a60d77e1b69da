#include "coordinator/planner/calibration/calibration.h"

#include <algorithm>
#include <cmath>
#include <iostream>
#include <vector>

#include "coordinator/planner/calibration/step_model.h"
#include "gtest/gtest.h"
#include "tests/planner/calibration/noise.h"

namespace ballast {
namespace {

using testing::Noisy;

TEST(RobustLine, OutliersDoNotMoveTheFit) {
  double worst_gated = 0, mean_plain = 0;
  constexpr int kRuns = 20;
  for (uint64_t seed = 1; seed <= kRuns; ++seed) {
    Rng rng(seed);
    RobustLine line;
    double sx = 0, sy = 0, sxx = 0, sxy = 0;  // plain least squares
    constexpr int kSamples = 400;
    for (int i = 0; i < kSamples; ++i) {
      const double size = 1000 + 4000 * rng.Uniform(), time = Noisy(rng, 0.3 + 0.002 * size);
      line.Observe(size, time);
      sx += size;
      sy += time;
      sxx += size * size;
      sxy += size * time;
    }
    const double plain = (kSamples * sxy - sx * sy) / (kSamples * sxx - sx * sx);
    ASSERT_TRUE(line.known());
    // At the middle of what was seen, where alpha and beta together are determined.
    worst_gated = std::max(worst_gated, std::fabs(line.At(3000) / 6.3 - 1));
    EXPECT_NEAR(line.beta(), 0.002, 0.002 * 0.08) << "seed " << seed;
    EXPECT_GE(line.sigma(), 0.04) << "seed " << seed;
    EXPECT_LE(line.sigma(), 0.10) << "outliers count as three deviations; seed " << seed;
    mean_plain += std::fabs(plain / 0.002 - 1) / kRuns;
  }
  std::cout << "error at the middle " << worst_gated << ", plain least squares on the slope " << mean_plain
            << "\n";
  EXPECT_LE(worst_gated, 0.015);
  EXPECT_GE(mean_plain, 0.08) << "the outliers are no trouble for anybody";
}

TEST(RobustLine, SizesThatDoNotVary) {
  Rng rng(3);
  RobustLine line;
  for (int i = 0; i < 20'000; ++i) line.Observe(512, Noisy(rng, 4));
  EXPECT_NEAR(line.At(512), 4, 0.1);
}

TEST(RobustLine, FollowsAChange) {
  Rng rng(4);
  RobustLine line(0.98);
  for (int i = 0; i < 1000; ++i) line.Observe(100 + static_cast<double>(i % 50), Noisy(rng, 100 + i % 50));
  for (int i = 0; i < 1000; ++i)
    line.Observe(100 + static_cast<double>(i % 50), Noisy(rng, 2. * (100 + i % 50)));
  EXPECT_NEAR(line.At(125), 250, 10);
}

TEST(RobustLine, LeavesOutWhatCannotBe) {
  RobustLine line, same;
  for (int i = 0; i < 100; ++i) {
    line.Observe(1, 2);
    same.Observe(1, 2);
    line.Observe(-1, 2);
    line.Observe(1, 0);
    line.Observe(1, std::nan(""));
  }
  EXPECT_EQ(line.At(1), same.At(1));
}

// A class of links on which one is slowed. Returns the samples until it is found (0 = never).
int SamplesUntilFound(uint64_t seed, double slowdown, double& estimate, int& false_alarms) {
  Rng rng(seed);
  constexpr int kLinks = 16, kBefore = 60, kAfter = 40;
  const int slow = static_cast<int>(rng.Below(kLinks));
  ResourceClass links(Resource::kLink, kLinks);
  int found = 0;
  for (int step = 1; step <= kBefore + kAfter; ++step) {
    std::vector<std::optional<ResourceClass::Sample>> samples;
    const double busy = 1 + rng.Uniform();  // the network as a whole
    for (int l = 0; l < kLinks; ++l) {
      const double bytes = 1e6 * (1 + rng.Uniform());
      const double factor = l == slow && step > kBefore ? slowdown : 1;
      samples.push_back(ResourceClass::Sample{bytes, Noisy(rng, factor * busy * bytes / 10e6)});
    }
    for (const SlowEvent& event : links.Observe(Step(step), samples)) {
      if (!event.slow) continue;
      if (event.member != slow || step <= kBefore) {
        ++false_alarms;
        continue;
      }
      found = step - kBefore;
    }
  }
  estimate = links.slowdowns()[static_cast<size_t>(slow)];
  return found;
}

TEST(PeerWatch, ASlowLinkIsFound) {
  int worst = 0, false_alarms = 0;
  std::vector<int> found;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    double estimate = 0;
    const int samples = SamplesUntilFound(seed, 1.4, estimate, false_alarms);
    ASSERT_GT(samples, 0) << "seed " << seed;
    worst = std::max(worst, samples);
    found.push_back(samples);
    EXPECT_NEAR(estimate, 1.4, 0.1) << "seed " << seed;
  }
  std::sort(found.begin(), found.end());
  std::cout << "slowed 1.4 times: median " << found[100] << ", worst " << worst << " samples\n";
  EXPECT_LE(worst, 10);
  EXPECT_EQ(false_alarms, 0);
}

TEST(PeerWatch, NoFalseAlarms) {
  for (int links : {2, 4, 16}) {
    Rng rng(static_cast<uint64_t>(links));
    ResourceClass watched(Resource::kLink, links);
    int alarms = 0;
    for (int step = 1; step <= 60'000 / links; ++step) {
      std::vector<std::optional<ResourceClass::Sample>> samples;
      for (int l = 0; l < links; ++l) {
        const double bytes = 1e6 * (1 + rng.Uniform());
        samples.push_back(ResourceClass::Sample{bytes, Noisy(rng, bytes / 10e6)});
      }
      for (const SlowEvent& event : watched.Observe(Step(step), samples)) alarms += event.slow;
    }
    EXPECT_LE(alarms, 1) << links << " links, 60,000 samples";
  }
}

// Bursts that last a few samples are noise that is not independent: the spread is learned with them.
TEST(PeerWatch, BurstsAreNoSlowRanks) {
  Rng rng(9);
  ResourceClass ranks(Resource::kCompute, 4);
  std::vector<double> burst(4, 0);
  int alarms = 0;
  for (int step = 1; step <= 3000; ++step) {
    std::vector<std::optional<ResourceClass::Sample>> samples;
    for (double& now : burst) {
      now = 0.7 * now + 0.1 * rng.Normal();
      samples.push_back(ResourceClass::Sample{1000, std::exp(now)});
    }
    for (const SlowEvent& event : ranks.Observe(Step(step), samples)) alarms += event.slow;
  }
  EXPECT_LE(alarms, 3) << "of 12,000 samples with a spread of 14 %";
}

TEST(PeerWatch, OneOfTwoIsFoundAndHealsAgain) {
  Rng rng(5);
  ResourceClass ranks(Resource::kCompute, 2);
  std::vector<SlowEvent> events;
  const auto run = [&](int from, int to, double slowdown) {
    for (int step = from; step < to; ++step) {
      std::vector<std::optional<ResourceClass::Sample>> samples;
      for (int r = 0; r < 2; ++r)
        samples.push_back(ResourceClass::Sample{2000, Noisy(rng, r == 1 ? slowdown : 1.0)});
      for (const SlowEvent& event : ranks.Observe(Step(step), samples)) events.push_back(event);
    }
  };
  run(1, 100, 1);
  EXPECT_TRUE(events.empty());
  run(100, 200, 2);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].member, 1);
  EXPECT_NEAR(ranks.slowdowns()[1], 2, 0.2);
  EXPECT_EQ(ranks.slowdowns()[0], 1);
  run(200, 249, 1);
  EXPECT_EQ(events.size(), 1u) << "healthy only after 50 clean steps";
  EXPECT_NEAR(ranks.slowdowns()[1], 2, 0.2) << "the estimate holds meanwhile";
  run(249, 400, 1);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_FALSE(events[1].slow);
  EXPECT_GE(events[1].step, Step(249));
  EXPECT_EQ(ranks.slowdowns(), (std::vector<double>{1, 1}));
}

// What all suffer is no one's fault, and who has no peers cannot be told slow.
TEST(PeerWatch, ComparesWithPeersAlone) {
  Rng rng(6);
  ResourceClass all(Resource::kCompute, 4), alone(Resource::kCompute, 1);
  for (int step = 1; step <= 300; ++step) {
    const double common = step > 100 ? 5 : 1;
    std::vector<std::optional<ResourceClass::Sample>> samples(4), one(1);
    for (auto& sample : samples) sample = ResourceClass::Sample{2000, Noisy(rng, common)};
    one[0] = samples[0];
    EXPECT_TRUE(all.Observe(Step(step), samples).empty()) << step;
    EXPECT_TRUE(alone.Observe(Step(step), one).empty()) << step;
  }
}

TEST(PeerWatch, GapsAreNoEvidence) {
  Rng rng(7);
  ResourceClass ranks(Resource::kCompute, 4);
  for (int step = 1; step <= 400; ++step) {
    std::vector<std::optional<ResourceClass::Sample>> samples(4);
    for (size_t r = 0; r < 4; ++r) {
      if (rng.Chance(0.3)) continue;
      samples[r] = ResourceClass::Sample{rng.Chance(0.1) ? 0.0 : 2000.0, Noisy(rng, 1)};
    }
    EXPECT_TRUE(ranks.Observe(Step(step), samples).empty()) << step;
  }
}

TEST(Ladder, EachRungHasItsSlowdown) {
  EXPECT_EQ(ReactTo(Resource::kCompute, 1), Reaction::kNone);
  EXPECT_EQ(ReactTo(Resource::kCompute, 1.15), Reaction::kResplit);
  EXPECT_EQ(ReactTo(Resource::kCompute, 1 / 0.6), Reaction::kReplan);
  EXPECT_EQ(ReactTo(Resource::kCompute, 1 / 0.29), Reaction::kDrain);
  EXPECT_EQ(ReactTo(Resource::kPort, 2), Reaction::kRaisePort);
  EXPECT_EQ(ReactTo(Resource::kLink, 10), Reaction::kRaisePort);
  EXPECT_EQ(SpeedsOf({1, 2, 1 / 0.6, 1e9}), (std::vector<uint32_t>{65536, 32768, 38 * 1024, 1024}));
}

TEST(ModelGuard, ABiasTripsItAndNoiseDoesNot) {
  Rng rng(8);
  ModelGuard guard;
  for (int i = 0; i < 500; ++i) EXPECT_FALSE(guard.Observe(1, std::exp(0.3 * rng.Normal()))) << i;
  EXPECT_TRUE(guard.trusted());
  int steps = 0;
  while (!guard.Observe(1, 1.3 * std::exp(0.05 * rng.Normal()))) ASSERT_LT(++steps, 60);
  EXPECT_FALSE(guard.trusted());
  for (int i = 0; i < 24; ++i) guard.Observe(1, 1);
  EXPECT_FALSE(guard.trusted());
  guard.Observe(1, 1);
  EXPECT_TRUE(guard.trusted());
}

// Predicts another placement's step from the steps of this one.
TEST(StepModel, PredictsAnotherBalance) {
  Rng rng(10);
  StepModel model;
  constexpr double kRow = 2e-6, kRest = 0.05;
  EXPECT_FALSE(model.Predict(1e5).has_value());
  for (int i = 0; i < 100; ++i) {
    const double busiest = 2e5 * (1 + 0.1 * rng.Uniform());
    EXPECT_FALSE(model.Observe(busiest, kRow, Noisy(rng, kRest + kRow * busiest)));
  }
  EXPECT_NEAR(*model.Predict(1e5), kRest + kRow * 1e5, 0.05 * 0.25);
  EXPECT_TRUE(model.guard().trusted());
  // The rest of a step becomes dearer: the model follows.
  for (int i = 0; i < 200; ++i) model.Observe(2e5, kRow, Noisy(rng, 3 * kRest + kRow * 2e5));
  EXPECT_NEAR(*model.Predict(2e5), 3 * kRest + kRow * 2e5, 0.03);
  EXPECT_TRUE(model.guard().trusted());
}

}  // namespace
}  // namespace ballast
