#include "coordinator/planner/predictor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/rng.h"

namespace ballast {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kAll = kForecastTokens;

TEST(LoadHistory, TheFirstForecastIsTheFirstSample) {
  LoadHistory history(PlannerConfig(), 2, 2);
  EXPECT_THAT(history.Forecast(), ElementsAre(ElementsAre(0, 0), ElementsAre(0, 0)));
  ASSERT_TRUE(history.Observe({Step(4), {{30, 10}, {0, 0}}}).ok());
  EXPECT_THAT(history.Forecast(), ElementsAre(ElementsAre(kAll / 4 * 3, kAll / 4), ElementsAre(0, 0)));
  EXPECT_EQ(history.observed(), 1);
}

TEST(LoadHistory, ALoadThatMovesIsForecastByItsLastSample) {
  LoadHistory history(PlannerConfig(), 1, 2);
  for (int s = 1; s <= 20; ++s) ASSERT_TRUE(history.Observe({Step(s), {{1000 - 20 * s, 20 * s}}}).ok());
  EXPECT_NEAR(static_cast<double>(history.Forecast()[0][0]) / kAll, 0.6, 1e-6);
}

TEST(LoadHistory, ALoadThatOnlyFluctuatesIsForecastByItsMean) {
  Rng rng(5);
  LoadHistory history(PlannerConfig(), 1, 2);
  for (int s = 1; s <= 60; ++s) {
    const int64_t a = rng.Between(300, 700);
    ASSERT_TRUE(history.Observe({Step(s), {{a, 1000 - a}}}).ok());
  }
  // The mean of 0.3 EWMA has a spread of 0.05; a single sample one of 0.12.
  ASSERT_TRUE(history.Observe({Step(61), {{700, 300}}}).ok());
  const double forecast = static_cast<double>(history.Forecast()[0][0]) / kAll;
  EXPECT_LT(forecast, 0.65) << "the last sample, 0.7, was taken for the forecast";
  EXPECT_GT(forecast, 0.4);
}

TEST(LoadHistory, LayersAreForecastOnTheirOwn) {
  LoadHistory history(PlannerConfig(), 2, 2);
  for (int s = 1; s <= 41; ++s) {
    const int64_t flip = s % 2 ? 600 : 400;
    ASSERT_TRUE(history.Observe({Step(s), {{1000 - 10 * s, 10 * s}, {flip, 1000 - flip}}}).ok());
  }
  EXPECT_NEAR(static_cast<double>(history.Forecast()[0][0]) / kAll, 0.59, 1e-6);  // its last sample
  EXPECT_NEAR(static_cast<double>(history.Forecast()[1][0]) / kAll, 0.5, 0.05);   // its mean, not 0.6
}

TEST(LoadHistory, KeepsTheHorizonAndForgetsOnReset) {
  PlannerConfig config;
  config.horizon_steps = 3;
  config.plan_every_steps = 2;
  LoadHistory history(config, 1, 1);
  for (int s = 1; s <= 5; ++s) ASSERT_TRUE(history.Observe({Step(s), {{s}}}).ok());
  EXPECT_EQ(history.observed(), 5);
  ASSERT_EQ(history.samples().size(), 3u);
  EXPECT_EQ(history.samples().front().step, Step(3));
  history.Reset();
  EXPECT_EQ(history.observed(), 0);
  EXPECT_TRUE(history.samples().empty());
  EXPECT_THAT(history.Forecast(), ElementsAre(ElementsAre(0)));
  EXPECT_TRUE(history.Observe({Step(1), {{9}}}).ok()) << "steps may begin again";
}

TEST(LoadHistory, RefusesBadSamplesWhole) {
  LoadHistory history(PlannerConfig(), 2, 2);
  ASSERT_TRUE(history.Observe({Step(4), {{1, 1}, {1, 3}}}).ok());
  const auto before = history.Forecast();
  const auto refused = [&](StepLoad load, const std::string& text) {
    const absl::Status status = history.Observe(load);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(text));
    EXPECT_EQ(history.observed(), 1);
    EXPECT_EQ(history.Forecast(), before);
  };
  refused({Step(4), {{5, 1}, {1, 3}}}, "found step 4, allowed is above 4");
  refused({Step(5), {{5, 1}}}, "found 1 layers, allowed is 2");
  refused({Step(5), {{5, 1}, {1}}}, "load of layer 1: found 1 experts, allowed is 2");
  refused({Step(5), {{5, 1}, {1, -1}}}, "load of layer 1, expert 1: found -1");
  refused({Step(5), {{5, 1}, {int64_t{1} << 48, 1}}},
          "load of layer 1, expert 1: found 1, allowed 0.. and at most");
}

}  // namespace
}  // namespace ballast
