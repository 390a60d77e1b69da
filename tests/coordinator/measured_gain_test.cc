#include "coordinator/measured_gain.h"

#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "gtest/gtest.h"
#include "plan/contiguous.h"
#include "plan/layout.h"
#include "plan/load.h"
#include "tests/coordinator/small_job.h"

namespace ballast {
namespace {

// Plan 2 puts a second copy of expert 0 on the rank that has less to do.
class Measured : public testing::Test {
 protected:
  void SetUp() override {
    job_ = SmallJob("demo", 2);
    layout_ = *ParameterLayout::Make(job_->model, job_->placement.block_elements);
    base_ = *ContiguousPlan(*job_, *layout_, 2);
    auto plan = std::make_shared<Plan>();
    plan->stamp = {JobId("demo"), Generation(1), PlanVersion(2), PlanVersion(1), Step()};
    plan->body = base_;
    for (Slot& slot : plan->body.layers[0].slots[1]) {
      if (slot.has_value()) continue;
      slot = ExpertId(0);
      break;
    }
    plan_.plan = plan;
  }

  // A step of `tokens` under plan `version` that took `seconds`.
  void Report(int64_t step, int64_t version, double seconds, double imbalance) {
    StepPoint point;
    point.step = Step(step);
    point.plan = PlanVersion(version);
    point.tokens_per_s = 4 * 8 / seconds;  // a global batch of 4 sequences of 8 tokens
    point.imbalance = imbalance;
    points_.push_back(point);
    StepReport report;
    report.step = Step(step);
    report.load = {Step(step), {{70, 10, 10, 10}}};
    reports_.Add(std::move(report));
  }
  MeasuredGain Measure(const PlanBody* base) const {
    return MeasureGain(plan_, base, *job_, points_, reports_);
  }

  std::shared_ptr<JobConfig> job_;
  std::optional<ParameterLayout> layout_;
  PlanBody base_;
  PlanRecord plan_;
  std::deque<StepPoint> points_;
  StepRing reports_{RetentionOptions()};
};

TEST_F(Measured, NothingBeforeItsFirstStep) {
  EXPECT_EQ(Measure(&base_), MeasuredGain());
  Report(1, 1, 0.5, 1.6);
  EXPECT_EQ(Measure(&base_), MeasuredGain());
}

TEST_F(Measured, StepsUnderThePlanAgainstThoseBefore) {
  for (int64_t step = 1; step <= 5; ++step) Report(step, 1, step == 2 ? 9 : 0.5, 1.6);
  Report(6, 1, 0.75, 1.6);  // fills the new slot
  Report(7, 2, 0.6, 1.1);
  Report(8, 2, 0.25, 1.0);
  Report(9, 2, 0.25, 1.0);
  Report(10, 3, 0.1, 1.5);  // a later plan's
  const MeasuredGain gain = Measure(&base_);
  EXPECT_EQ(gain.from, Step(7));
  EXPECT_EQ(gain.to, Step(9));
  EXPECT_EQ(gain.steps, 3);
  EXPECT_NEAR(gain.imbalance, 3.1 / 3, 1e-12);
  EXPECT_NEAR(gain.imbalance_without, 1.6, 1e-9) << "experts 0 and 1 on rank 0";
  EXPECT_NEAR(gain.step_seconds, 0.25, 1e-9);
  EXPECT_NEAR(gain.step_seconds_before, 0.5, 1e-9) << "a median: one slow step says nothing";
  EXPECT_NEAR(gain.switch_seconds, 0.75, 1e-9);
  EXPECT_EQ(Measure(nullptr).imbalance_without, 0) << "a generation's first plan has none before it";
}

TEST_F(Measured, NoMoreThanTheFirstSteps) {
  for (int64_t step = 1; step <= 30; ++step) Report(step, 2, step <= kMeasuredStepsMax ? 1 : 5, 1.5);
  const MeasuredGain gain = Measure(&base_);
  EXPECT_EQ(gain.steps, kMeasuredStepsMax);
  EXPECT_EQ(gain.to, Step(kMeasuredStepsMax));
  EXPECT_NEAR(gain.step_seconds, 1, 1e-9);
  EXPECT_EQ(gain.step_seconds_before, 0);
}

}  // namespace
}  // namespace ballast
