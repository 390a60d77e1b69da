// The shipped job through the real core, on the loads that its 200 steps really had (gpt_moe_tiny_loads.npy,
// recorded from daemons): what `auto` does live.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/rng.h"
#include "gtest/gtest.h"
#include "plan/plan.h"
#include "replay/npy.h"
#include "tests/base/golden_file.h"
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

std::vector<JobEvent> AlarmsOf(const LiveJob& job) {
  std::vector<JobEvent> events = *job.core().Events(job.name());
  std::erase_if(events, [](const JobEvent& event) { return event.kind != JobEvent::Kind::kAlarm; });
  return events;
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

// What is predicted of a run as a whole, with sync and writes: slots make it no dearer. (Of one decision that
// is so for any loads, auto_test.cc; over a run the paths part where the data drift, by a quarter of a
// percent on recorded loads.)
TEST(LivePlanner, MoreSlotsNeverHurt) {
  const auto total = [](int slots) {
    LiveJob job(ShippedJob("auto", slots));
    job.RunAll(Recorded());
    const double sum = job.PredictedTotal(kSyncCost, 0.02);
    std::cout << slots << " slots: " << sum << ", imbalance " << job.MeanImbalance(1) << ", "
              << job.slot_writes() << " writes\n";
    return sum;
  };
  double fewer = total(2);
  const double no_spare = fewer;
  for (int slots : {3, 4, 6, 8}) {
    const double more = total(slots);
    EXPECT_LE(more, 1.0025 * fewer) << slots << " slots";
    fewer = more;
  }
  EXPECT_LT(fewer, 0.8 * no_spare);
}

// Whole plans, as ranks would run them: the same on every machine and by every compiler.
TEST(LivePlanner, PlansAreThoseThatWereRecorded) {
  std::string lines;
  for (const char* strategy : {"auto", "greedy", "splitpack"}) {
    LiveJob job(ShippedJob(strategy, 0));
    job.RunAll(Recorded());
    const auto plans = job.core().Plans(job.name());
    ASSERT_TRUE(plans.ok());
    EXPECT_GE(plans->size(), 3u);
    for (const PlanRecord& plan : *plans) {
      absl::StrAppendFormat(&lines, "%s %d %016x\n", strategy, plan.plan->stamp.version.value(),
                            Digest(*plan.plan).value());
    }
  }
  ExpectGolden(BALLAST_TRANSCRIPTS "/gpt_moe_tiny_plans.golden", "BALLAST_REWRITE_PLANS", lines);
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

// The shipped job's mixture changes at step 101. A look after 120 steps goes back 30 of them, or as far as
// the data are the same.
TEST(LivePlanner, NothingIsForecastFromOtherData) {
  constexpr int64_t kPeriod = 30;
  const std::shared_ptr<JobConfig> config = ShippedJob("", 0);
  ASSERT_EQ(config->data.mixture.size(), 2u);
  const Step change = config->data.mixture[1].from_step;
  ASSERT_EQ(change, Step(101));
  config->planner.plan_every_steps = kPeriod;
  LiveJob job(config);
  job.RunAll(Recorded());
  const auto plans = job.core().Plans(job.name());
  ASSERT_TRUE(plans.ok());
  int before = 0, after = 0;
  for (const PlanRecord& plan : *plans) {
    if (plan.origin != PlanOrigin::kPlanner) continue;
    const auto account = job.core().Explain(job.name(), plan.plan->stamp.version);
    ASSERT_TRUE(account.ok());
    ASSERT_TRUE(account->explanation.has_value());
    const bool other_data = account->explanation->step >= change;
    ++(other_data ? after : before);
    EXPECT_GE(account->explanation->first_sample, other_data ? change : Step(1));
    EXPECT_LE(account->explanation->last_sample, account->explanation->step);
    // On the very same steps as the plan before it, also where these are on both sides of the change.
    if (plan.slot_writes > 0 && account->measured.complete) {
      EXPECT_LT(account->measured.imbalance, account->measured.imbalance_without);
    }
  }
  EXPECT_GE(before, 1);
  EXPECT_GE(after, 1);
}

// A rank at 0.6 of its speed from step 60 on, with noise and outliers in every rank's times.
// The coordinator answers nobody while it plans, so what takes long is planned beside it.
TEST(LivePlanner, ALargeLookOfAutoIsMadeAside) {
  for (int layers : {4, 40}) {
    const std::shared_ptr<JobConfig> config = ShippedJob("auto", 20);
    config->model.layers = layers;
    config->model.moe.experts = 64;
    SCOPED_TRACE(absl::StrFormat("%d layers of 64 experts on %d ranks", layers, config->placement.ranks));
    LiveJob job(config);
    std::vector<std::vector<int64_t>> loads(static_cast<size_t>(layers), std::vector<int64_t>(64, 10));
    for (std::vector<int64_t>& layer : loads) std::fill_n(layer.begin(), 16, 100);  // those of the first rank
    for (int step = 0; step < 60; ++step) job.Run(loads);
    EXPECT_EQ(job.looks_aside() > 0, layers == 40);
    EXPECT_LT(job.imbalance().back(), 1.1) << "either way it is planned";
  }
}

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

  const std::vector<JobEvent> slow = AlarmsOf(job);
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

// Four nodes that nobody probes. The port of rank 1 is at half speed from step 100 on.
TEST(LivePlanner, PortsAreLearnedFromExchangesAndASlowOneIsTold) {
  constexpr int kSlowRank = 1;
  constexpr int64_t kSlowFrom = 100;
  constexpr double kBytesPerSecond = 1e9;
  Rng rng(92);
  LiveJob job(ShippedJob("", 0), 1);
  const auto noisy = [&](double seconds) {
    return seconds * std::exp(0.05 * rng.Normal()) * (rng.Chance(0.03) ? 2 + 6 * rng.Uniform() : 1);
  };
  int64_t step = 0;
  job.expert_seconds = [&](int rank, int64_t rows) {
    if (rank == 0) ++step;
    return noisy(1e-5 * static_cast<double>(rows));
  };
  job.links = [&](int rank) {
    std::vector<LinkUse> links;
    for (int peer = 0; peer < 4; ++peer) {
      if (peer == rank) continue;
      LinkUse link{.peer = Rank(peer), .bytes_sent = 1'000'000, .bytes_received = 1'000'000};
      const bool slow = step > kSlowFrom && (rank == kSlowRank || peer == kSlowRank);
      // The slow sender leaves half of its third of a port to the others.
      const double left = step > kSlowFrom && !slow ? 5.0 / 6 : 1;
      link.timed_messages = 2;
      link.timed_bytes = 2 * rng.Between(2'000'000, 3'000'000);
      link.timed_seconds = noisy(static_cast<double>(link.timed_bytes) / kBytesPerSecond * (slow ? 2 : left));
      link.receive_seconds = 10 * link.timed_seconds;  // most of it was waiting
      links.push_back(link);
    }
    return links;
  };
  job.RunAll(Recorded());

  const std::vector<JobEvent> alarms = AlarmsOf(job);
  ASSERT_EQ(alarms.size(), 1u) << "one alarm, no false one";
  EXPECT_GT(alarms[0].step.value(), kSlowFrom);
  EXPECT_LE(alarms[0].step.value(), kSlowFrom + 30);
  EXPECT_NE(alarms[0].text.find("nic of rank 1 (worker w1, node node1) is slow: 0."), std::string::npos)
      << alarms[0].text;

  // A row between nodes is priced although nothing was probed.
  const auto account = job.core().Explain(job.name(), PlanVersion());
  ASSERT_TRUE(account.ok());
  const auto& look = account->last_look ? account->last_look : account->explanation;
  ASSERT_TRUE(look);
  EXPECT_EQ(look->prices.substr(0, 9), "measured:") << look->prices;
  double nic_rows = 0;
  ASSERT_EQ(
      std::sscanf(look->prices.c_str(),
                  "measured: an expert's gradient or weights between nodes take as long as computing %lf",
                  &nic_rows),
      1)
      << look->prices;
  const ModelConfig model = ShippedJob("", 0)->model;
  const double expert_bytes = 4.0 * 3 * model.hidden_size * model.moe.intermediate_size;
  EXPECT_NEAR(nic_rows, expert_bytes / kBytesPerSecond / 1e-5, 0.1 * nic_rows);
}

}  // namespace
}  // namespace ballast
