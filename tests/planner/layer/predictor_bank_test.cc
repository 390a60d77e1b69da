#include "coordinator/planner/layer/predictor_bank.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"

namespace ballast {
namespace {

double Share(const PredictorBank& bank, int expert) {
  return static_cast<double>(bank.Forecast()[static_cast<size_t>(expert)]) /
         static_cast<double>(kForecastLoad);
}

TEST(PredictorBank, ConstantLoadsAreForecastAsTheyAre) {
  PredictorBank bank(3, 2);
  EXPECT_EQ(bank.Forecast(), (std::vector<int64_t>{0, 0, 0}));
  for (int i = 0; i < 20; ++i) {
    bank.Observe({100, 200, 100});
    EXPECT_NEAR(Share(bank, 1), 0.5, 1e-8);
  }
  bank.Observe({0, 0, 0});  // nothing routed says nothing
  EXPECT_EQ(bank.observed(), 20);
  EXPECT_NEAR(bank.spread(1), 0, 1e-8);
}

TEST(PredictorBank, AStepIsFollowedAtOnceAndNoiseIsNot) {
  PredictorBank drifting(2, 1);
  for (int i = 0; i < 30; ++i) drifting.Observe({1000 + 40 * i, 1000});
  // Only "last" (or the trend) is close on a steady drift; a mean of 10 samples is far behind.
  EXPECT_NEAR(Share(drifting, 0), 2160.0 / 3160, 0.01);

  const uint64_t seed = 31;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  PredictorBank noisy(2, 1);
  double bank_error = 0, last_error = 0;
  int64_t last = 1000;
  for (int i = 0; i < 200; ++i) {
    const int64_t next = 1000 + static_cast<int64_t>(100 * rng.Normal());
    const double share = static_cast<double>(next) / static_cast<double>(next + 1000);
    if (i > 20) {
      bank_error += std::abs(Share(noisy, 0) - share);
      last_error += std::abs(static_cast<double>(last) / static_cast<double>(last + 1000) - share);
    }
    noisy.Observe({next, 1000});
    last = next;
  }
  EXPECT_LT(bank_error, 0.85 * last_error);
  EXPECT_GT(noisy.spread(0), 0.01);
}

TEST(PredictorBank, ResetForgets) {
  PredictorBank bank(2, 1);
  for (int i = 0; i < 50; ++i) bank.Observe({100, 0});
  bank.Reset();
  EXPECT_EQ(bank.Forecast(), (std::vector<int64_t>{0, 0}));
  bank.Observe({0, 7});
  EXPECT_NEAR(Share(bank, 1), 1, 1e-9);
}

}  // namespace
}  // namespace ballast
