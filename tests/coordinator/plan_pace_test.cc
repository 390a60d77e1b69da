#include "coordinator/plan_pace.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "coordinator/planner/layer/layer_strategy.h"

namespace ballast {
namespace {

constexpr int64_t kUnknown = 777;

TEST(PlanPace, KnowsNothingAtFirst) {
  PlanPace pace;
  EXPECT_EQ(pace.EvaluationsIn(0.2, 4, kUnknown), kUnknown);
  pace.Observe(0, 0.5);  // a strategy that counts none
  EXPECT_EQ(pace.EvaluationsIn(0.2, 4, kUnknown), kUnknown);
}

TEST(PlanPace, GuessesByTheSize) {
  EXPECT_EQ(PlanPace::FirstGuess(0.2, 4, 100), 10'000) << "0.2 s / 4 / 5 us";
  EXPECT_EQ(PlanPace::FirstGuess(0.2, 4, 1), kPlacementsMax);
  EXPECT_EQ(PlanPace::FirstGuess(0.2, 300, 256 * 64), PlanPace::kLeast);
}

TEST(PlanPace, TheFirstLooksLayAllTimeToPlacements) {
  PlanPace pace;
  pace.Observe(10'000, 1);
  EXPECT_EQ(pace.EvaluationsIn(1, 4, kUnknown), 2500);
  pace.Observe(10'000, 3);
  EXPECT_EQ(pace.EvaluationsIn(1, 4, kUnknown), 1250);
}

// 30 ms a look and 20 us a placement, with noise: 0.2 s are 8,500 placements.
TEST(PlanPace, TellsWhatALookTakesFromWhatPlacementsTake) {
  const uint64_t seed = 12;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  PlanPace pace;
  for (int i = 0; i < 200; ++i) {
    const int64_t evaluations = rng.Between(200, 20'000);
    pace.Observe(evaluations, (0.03 + 20e-6 * static_cast<double>(evaluations)) * (1 + 0.05 * rng.Normal()));
  }
  EXPECT_NEAR(static_cast<double>(pace.EvaluationsIn(0.2, 1, kUnknown)), 8500, 700);
  EXPECT_NEAR(static_cast<double>(pace.EvaluationsIn(0.2, 4, kUnknown)), 8500.0 / 4, 700.0 / 4);
}

TEST(PlanPace, IsBounded) {
  PlanPace pace;
  pace.Observe(10, 10);
  EXPECT_EQ(pace.EvaluationsIn(0.2, 4, kUnknown), PlanPace::kLeast) << "a plan needs some";
  PlanPace fast;
  fast.Observe(1'000'000'000, 1);
  EXPECT_EQ(fast.EvaluationsIn(60, 1, kUnknown), PlanPace::kMost);
}

}  // namespace
}  // namespace ballast
