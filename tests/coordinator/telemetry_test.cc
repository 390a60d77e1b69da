#include "coordinator/telemetry.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "tests/coordinator/small_job.h"

namespace ballast {
namespace {

constexpr size_t kRecentMax = 8;

StepReport ReportOf(int64_t step) {
  StepReport report;
  report.step = Step(step);
  report.loss = static_cast<double>(step);
  report.step_seconds = 0.5;
  report.tokens = 32;
  report.load.step = report.step;
  report.load.tokens = {{8, 8, 8, 8}};
  report.rank_tokens = {{16, 16}};
  return report;
}

class TelemetryTest : public testing::Test {
 protected:
  TelemetryTest() { record_.config = job_; }

  absl::Status Report(int64_t step) { return telemetry_.OnReport(ReportOf(step), record_).status(); }
  std::vector<int64_t> Recent() const {
    std::vector<int64_t> steps;
    for (const StepPoint& point : telemetry_.recent()) steps.push_back(point.step.value());
    return steps;
  }

  const std::shared_ptr<const JobConfig> job_ = SmallJob("demo", 2);
  JobRecord record_;
  Telemetry telemetry_{*job_, kRecentMax, {}};
};

// The daemon of rank 0 was away in steps 3 to 5: another one reports what comes then, and the kept reports
// come late.
TEST_F(TelemetryTest, LateStepsFindTheirPlaceAndNoneCountsTwice) {
  for (int64_t step : {1, 2, 6, 7}) ASSERT_TRUE(Report(step).ok());
  EXPECT_EQ(telemetry_.history().observed(), 4);
  for (int64_t step : {3, 4, 5}) ASSERT_TRUE(Report(step).ok());
  for (int64_t step : {1, 3, 5, 7}) EXPECT_TRUE(absl::IsAlreadyExists(Report(step))) << step;
  EXPECT_EQ(Recent(), (std::vector<int64_t>{1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(record_.step, Step(7));
  EXPECT_EQ(record_.trained_tokens, 7 * 32);
  EXPECT_EQ(record_.trained_seconds, 3.5);
  ASSERT_EQ(record_.last_steps.size(), 7u);
  for (size_t i = 0; i < 7; ++i) EXPECT_EQ(record_.last_steps[i].step, Step(static_cast<int64_t>(i) + 1));
  EXPECT_EQ(telemetry_.history().observed(), 4) << "the planner looks ahead";
  EXPECT_EQ(telemetry_.history().samples().back().step, Step(7));
  ASSERT_TRUE(Report(8).ok());
  EXPECT_EQ(telemetry_.history().observed(), 5);
}

TEST_F(TelemetryTest, WhatFellOutOfTheWindowCannotComeAgain) {
  for (int64_t step = 1; step <= 10; ++step) ASSERT_TRUE(Report(step).ok());
  EXPECT_EQ(Recent(), (std::vector<int64_t>{3, 4, 5, 6, 7, 8, 9, 10}));
  for (int64_t step = 1; step <= 10; ++step) EXPECT_TRUE(absl::IsAlreadyExists(Report(step))) << step;
  EXPECT_EQ(record_.trained_tokens, 10 * 32);
}

TEST_F(TelemetryTest, ANewLeaderTakesStepsThatItsRecordDoesNotKnow) {
  for (int64_t step : {1, 2, 3, 6}) ASSERT_TRUE(Report(step).ok());
  Telemetry next(*job_, kRecentMax, {});
  next.Restore(record_);
  for (int64_t step : {1, 3, 6}) {
    EXPECT_TRUE(absl::IsAlreadyExists(next.OnReport(ReportOf(step), record_).status())) << step;
  }
  for (int64_t step : {9, 4, 5, 7}) EXPECT_TRUE(next.OnReport(ReportOf(step), record_).ok()) << step;
  EXPECT_EQ(record_.trained_tokens, 8 * 32);
  EXPECT_EQ(record_.step, Step(9));
}

// Loads of other data say nothing of what comes, whichever step of the new mixture is reported first; those
// of a phase that repeats the weights before it do.
TEST_F(TelemetryTest, ForecastsBeginAnewWithAnotherDataMixture) {
  auto job = std::make_shared<JobConfig>(*job_);
  job->data.sources.push_back({"code", "code"});
  job->data.mixture = {{Step(1), {9, 1}}, {Step(4), {9, 1}}, {Step(6), {1, 9}}, {Step(20), {1, 1}}};
  Telemetry telemetry(*job, kRecentMax, {});
  const auto report = [&](int64_t step, std::vector<int64_t> tokens) {
    StepReport report = ReportOf(step);
    report.load.tokens = {std::move(tokens)};
    ASSERT_TRUE(telemetry.OnReport(report, record_).ok()) << step;
  };
  for (int64_t step : {1, 2, 3, 4, 5}) report(step, {29, 1, 1, 1});
  EXPECT_EQ(telemetry.history().observed(), 5);
  report(7, {1, 1, 1, 29});
  EXPECT_EQ(telemetry.history().observed(), 1);
  EXPECT_EQ(telemetry.history().samples().front().step, Step(7));
  EXPECT_EQ(telemetry.history().Forecast(),
            (std::vector<std::vector<int64_t>>{{kForecastTokens / 32, kForecastTokens / 32,
                                                kForecastTokens / 32, kForecastTokens / 32 * 29}}));
  report(6, {1, 1, 1, 29});  // late
  report(8, {1, 1, 1, 29});
  EXPECT_EQ(telemetry.history().observed(), 2) << "the mixture's first step is crossed once";
  EXPECT_EQ(telemetry.steps().steps().size(), 8u) << "people keep what was reported";

  telemetry.ForgetAfter(Step(4), record_);  // the job goes back, and comes to the new mixture again
  report(5, {29, 1, 1, 1});
  report(6, {1, 1, 1, 29});
  EXPECT_EQ(telemetry.history().observed(), 1);
}

TokenReport TokensOf(int64_t step, int rank, const TokenSampling& sampling) {
  return {JobId("demo"),
          Generation(1),
          Rank(rank),
          Step(step),
          sampling.tokens,
          std::vector<uint16_t>(static_cast<size_t>(sampling.tokens), static_cast<uint16_t>(step % 4))};
}

TEST_F(TelemetryTest, TheSampleOfTokensIsTheNewestAndIsForgottenWithTheLoads) {
  const TokenSampling sampling = SamplingFor(1, 1, 8, 2);
  ASSERT_EQ(sampling, (TokenSampling{1, 2, 8}));
  for (int64_t step = 1; step <= 80; ++step) {
    for (int rank : {0, 1})
      ASSERT_TRUE(telemetry_.OnTokenReport(TokensOf(step, rank, sampling), sampling).ok());
    EXPECT_EQ(telemetry_.tokens().enough(), step >= 32);
  }
  const size_t before = telemetry_.tokens().sequences().size();
  EXPECT_EQ(before, 160u);
  ASSERT_TRUE(telemetry_.OnTokenReport(TokensOf(7, 1, sampling), sampling).ok());
  EXPECT_EQ(telemetry_.tokens().sequences().size(), before) << "said twice";
  for (int64_t step = 100; step > 80; --step) {
    for (int rank : {0, 1})
      ASSERT_TRUE(telemetry_.OnTokenReport(TokensOf(step, rank, sampling), sampling).ok());
  }
  EXPECT_EQ(telemetry_.tokens().sequences().front()->step, Step(1));
  EXPECT_EQ(telemetry_.tokens().sequences().back()->step, Step(100)) << "also where they come out of order";
  EXPECT_FALSE(telemetry_.OnTokenReport(TokensOf(101, 0, sampling), sampling).ok())
      << "the job has 100 steps";
  EXPECT_FALSE(telemetry_.OnTokenReport(TokensOf(50, 0, sampling), TokenSampling()).ok()) << "nobody asked";
  telemetry_.ForgetAfter(Step(90), record_);
  EXPECT_TRUE(telemetry_.tokens().sequences().empty()) << "as the loads are";
}

TEST_F(TelemetryTest, TheSampleOfTokensBeginsAnewWhereDataChange) {
  const std::shared_ptr<JobConfig> job = SmallJob("demo", 2);
  job->data.sources.push_back(DataSource{"other", "other"});
  job->data.mixture = {MixturePhase{Step(1), {1.0, 0.0}}, MixturePhase{Step(21), {0.0, 1.0}}};
  Telemetry telemetry(*job, kRecentMax, {});
  const TokenSampling sampling = SamplingFor(1, 1, 8, 2);
  const auto add = [&](int64_t step, int rank) {
    ASSERT_TRUE(telemetry.OnTokenReport(TokensOf(step, rank, sampling), sampling).ok());
  };
  for (int64_t step = 1; step <= 20; ++step) add(step, 0);
  EXPECT_EQ(telemetry.tokens().sequences().size(), 20u);
  add(21, 1);
  EXPECT_EQ(telemetry.tokens().sequences().size(), 1u);
  add(20, 1);
  EXPECT_EQ(telemetry.tokens().sequences().size(), 1u) << "late, of the data before";
  add(21, 0);
  EXPECT_EQ(telemetry.tokens().sequences().size(), 2u);
}

}  // namespace
}  // namespace ballast
