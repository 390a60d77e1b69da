// The shipped job through the real core, on the loads that its 200 steps really had (gpt_moe_tiny_loads.npy,
// recorded from daemons): what `auto` does live.
#include <cmath>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>

#include "base/check.h"
#include "base/rng.h"
#include "gtest/gtest.h"
#include "replay/npy.h"
#include "tests/coordinator/live_job.h"
#include "wire/job_reader.h"
#include "wire/source.h"

namespace ballast {
namespace {

// As layerwise.cc charges a slot of a much replicated expert.
constexpr double kSyncCost = 0.002;

const LoadTrace& Recorded() {
  static const LoadTrace& trace = *new LoadTrace([] {
    std::ifstream file(BALLAST_TRANSCRIPTS "/gpt_moe_tiny_loads.npy", std::ios::binary);
    std::stringstream bytes;
    bytes << file.rdbuf();
    const auto array = NpyArray::Parse(bytes.str());
    BALLAST_CHECK_OK(array.status());
    auto loads = LoadTrace::FromArray(*array);
    BALLAST_CHECK_OK(loads.status());
    return *std::move(loads);
  }());
  return trace;
}

std::shared_ptr<JobConfig> ShippedJob(const std::string& strategy, int slots) {
  const auto source = ReadSourceFile(BALLAST_SOURCE_DIR "/deploy/examples/gpt-moe-tiny.yaml");
  BALLAST_CHECK_OK(source.status());
  auto job = ReadJob(*source);
  BALLAST_CHECK_OK(job.status());
  auto config = std::make_shared<JobConfig>(*std::move(job));
  if (!strategy.empty()) config->planner.strategy = strategy;
  if (slots > 0) config->placement.slots_per_rank = slots;
  return config;
}

TEST(LivePlanner, TheShippedJobIsBalancedByAuto) {
  ASSERT_EQ(ShippedJob("", 0)->planner.strategy, "auto") << "the default, and what the example says";
  LiveJob job(ShippedJob("", 0)), greedy(ShippedJob("greedy", 0)), still(ShippedJob("contiguous", 0));
  for (LiveJob* one : {&job, &greedy, &still}) one->RunAll(Recorded());
  const size_t last20 = static_cast<size_t>(Recorded().steps()) - 19;
  RecordProperty("contiguous", std::to_string(still.MeanImbalance(last20)));
  RecordProperty("greedy", std::to_string(greedy.MeanImbalance(last20)));
  RecordProperty("auto", std::to_string(job.MeanImbalance(last20)));
  std::cout << "imbalance of the last 20 steps: contiguous " << still.MeanImbalance(last20) << ", greedy "
            << greedy.MeanImbalance(last20) << " (" << greedy.slot_writes() << " writes), auto "
            << job.MeanImbalance(last20) << " (" << job.slot_writes() << " writes); of all "
            << still.MeanImbalance(1) << ", " << greedy.MeanImbalance(1) << ", " << job.MeanImbalance(1)
            << "\n";
  EXPECT_EQ(still.slot_writes(), 0);
  EXPECT_GT(still.MeanImbalance(last20), 1.15) << "there is something to gain";
  EXPECT_LE(job.MeanImbalance(last20), 1.05);
  EXPECT_LE(job.MeanImbalance(1), greedy.MeanImbalance(1) + 0.005);
}

// What is predicted of a run as a whole, with sync and writes: slots beyond the example's make it no dearer.
// (Among more and more slots it is not monotonic: the paths part where the data drift.)
TEST(LivePlanner, MoreSlotsNeverHurt) {
  const auto total = [](int slots) {
    LiveJob job(ShippedJob("auto", slots));
    job.RunAll(Recorded());
    const double sum = job.PredictedTotal(kSyncCost, 0.02);
    std::cout << slots << " slots: " << sum << ", imbalance " << job.MeanImbalance(1) << ", "
              << job.slot_writes() << " writes\n";
    return sum;
  };
  const double shipped = total(3);
  EXPECT_LT(shipped, total(2)) << "without spare slots";
  for (int slots : {4, 6, 8}) EXPECT_LE(total(slots), shipped) << slots << " slots";
}

// Next to every plan stands what no placement could go below, and afterwards what it gained.
TEST(LivePlanner, EveryPlanHasItsBoundAndItsGain) {
  LiveJob job(ShippedJob("auto", 0));
  job.RunAll(Recorded());
  const auto plans = job.core().Plans(job.name());
  ASSERT_TRUE(plans.ok());
  int planned = 0, measured = 0;
  for (const PlanRecord& plan : *plans) {
    if (plan.origin != PlanOrigin::kPlanner) continue;
    SCOPED_TRACE(plan.plan->body.reason);
    EXPECT_GE(plan.imbalance_bound, 1 - 1e-9);
    EXPECT_LE(plan.imbalance_bound, plan.imbalance_after + 1e-6);
    EXPECT_EQ(plan.slot_bytes > 0, plan.slot_writes > 0);
    const auto account = job.core().Explain(job.name(), plan.plan->stamp.version);
    ASSERT_TRUE(account.ok());
    ASSERT_TRUE(account->explanation.has_value());
    EXPECT_EQ(account->explanation->strategy, "auto");
    EXPECT_EQ(account->explanation->verdict.substr(0, plan.plan->body.reason.size()), plan.plan->body.reason);
    if (plan.slot_writes == 0) continue;
    ++planned;
    if (!account->measured.complete) continue;
    ++measured;
    EXPECT_GT(account->measured.steps, 0);
    EXPECT_LT(account->measured.imbalance, account->measured.imbalance_without)
        << "it was better than what it replaced, on the very same loads";
  }
  EXPECT_GE(planned, 1);
  EXPECT_GE(measured, 1);

  const std::unique_ptr<Core> next = job.NextLeader();
  for (const PlanRecord& plan : *plans) {
    const PlanVersion version = plan.plan->stamp.version;
    const auto before = job.core().Explain(job.name(), version), after = next->Explain(job.name(), version);
    ASSERT_TRUE(after.ok());
    EXPECT_EQ(after->explanation, before->explanation) << version.value();
    if (before->measured.complete) {
      EXPECT_EQ(after->measured, before->measured) << version.value();
    }
  }
}

// A rank at 0.6 of its speed from step 60 on, with noise and outliers in every rank's times.
TEST(LivePlanner, ASlowRankIsToldAndGetsLess) {
  constexpr int64_t kSlowFrom = 60;
  constexpr int kSlowRank = 2;
  constexpr double kSecondsPerRow = 1e-5;
  Rng rng(91);
  LiveJob job(ShippedJob("", 0));
  int64_t step = 0;
  job.expert_seconds = [&](int rank, int64_t rows) {
    if (rank == 0) ++step;
    const double speed = rank == kSlowRank && step > kSlowFrom ? 0.6 : 1;
    const double noise = std::exp(0.05 * rng.Normal()) * (rng.Chance(0.03) ? 2 + 6 * rng.Uniform() : 1);
    return kSecondsPerRow * static_cast<double>(rows) / speed * noise;
  };
  job.RunAll(Recorded());

  std::vector<JobEvent> slow;
  const auto events = job.core().Events(job.name());
  ASSERT_TRUE(events.ok());
  for (const JobEvent& event : *events) {
    if (event.kind == JobEvent::Kind::kAlarm) slow.push_back(event);
  }
  ASSERT_EQ(slow.size(), 1u) << "one alarm, no false one";
  EXPECT_GT(slow[0].step.value(), kSlowFrom);
  EXPECT_LE(slow[0].step.value(), kSlowFrom + 8);
  EXPECT_EQ(slow[0].text.substr(slow[0].text.find("gpu")).substr(0, 42),
            "gpu of rank 2 (worker w2, node node) is sl")
      << slow[0].text;

  const auto telemetry = job.core().Telemetry(job.name());
  ASSERT_TRUE(telemetry.ok());
  EXPECT_NEAR(telemetry->ranks[kSlowRank].speed, 0.6, 0.04);
  EXPECT_EQ(telemetry->ranks[0].speed, 1);
  const auto active = job.core().PlanOf(job.name(), PlanVersion());
  ASSERT_TRUE(active.ok());
  EXPECT_NEAR(active->plan->body.speeds[kSlowRank] / 65536.0, 0.6, 0.06);
  const size_t last20 = static_cast<size_t>(Recorded().steps()) - 19;
  EXPECT_LE(job.MeanImbalance(last20), 1.05) << "by speed";

  // Every plan since the times are known says what a step takes, and that is what it took.
  int predicted = 0;
  const auto plans = job.core().Plans(job.name());
  for (const PlanRecord& plan : *plans) {
    if (plan.origin != PlanOrigin::kPlanner || plan.plan->body.predicted_step_seconds == 0) continue;
    const auto account = job.core().Explain(job.name(), plan.plan->stamp.version);
    if (!account->measured.complete) continue;
    const bool before = account->measured.to.value() <= kSlowFrom;
    if (!before && account->measured.from.value() <= slow[0].step.value())
      continue;  // it was yet to be found
    ++predicted;
    std::cout << "plan " << plan.plan->stamp.version.value() << " (" << plan.plan->body.reason
              << "): predicted " << plan.plan->body.predicted_step_seconds << " s, measured "
              << account->measured.step_seconds << " s\n";
    EXPECT_NEAR(account->measured.step_seconds / plan.plan->body.predicted_step_seconds, 1, 0.1);
  }
  EXPECT_GE(predicted, 4);
  const auto status = job.core().Job(job.name());
  EXPECT_GT(status->predicted_step_seconds, 0);
  EXPECT_NEAR(status->measured_step_seconds / status->predicted_step_seconds, 1, 0.1);
}

}  // namespace
}  // namespace ballast
