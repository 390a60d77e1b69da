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

}  // namespace
}  // namespace ballast
