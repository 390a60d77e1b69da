// A whole job on real daemons: what it computes does not depend on them, nor on where experts live.
#include <gtest/gtest.h>

#include <cstdio>

#include "tests/e2e/cluster.h"
#include "tests/e2e/plan_edits.h"
#include "tests/e2e/reference_run.h"

namespace ballast {
namespace {

JobConfig WithData(JobConfig job, const Cluster& cluster) {
  for (DataSource& source : job.data.sources) source.prefix = cluster.data_prefix();
  return job;
}

// The losses of all steps, in order; fails on a gap.
std::vector<double> Losses(const v1::JobStatus& job) {
  std::vector<double> losses;
  for (const v1::StepStatus& step : job.recent_steps()) {
    EXPECT_EQ(step.step(), static_cast<int64_t>(losses.size()) + 1);
    losses.push_back(step.loss());
  }
  return losses;
}

TEST(Training, FourDaemonsComputeWhatFourThreadsDo) {
  Cluster cluster;
  cluster.StartCoordinator();
  cluster.StartWorkers(4);
  JobConfig job = SmallJob("demo", 4, 20);
  ASSERT_TRUE(cluster.Submit(job).ok());
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, IsFinal));
  v1::JobStatus status = cluster.Job("demo").value();
  EXPECT_EQ(status.state(), v1::JOB_STATE_SUCCEEDED) << status.reason();
  EXPECT_EQ(status.step(), 20);
  EXPECT_EQ(Losses(status), ReferenceLosses(WithData(job, cluster))) << "bit for bit";
  ASSERT_EQ(status.evaluations_size(), 2);
  EXPECT_EQ(status.evaluations(0).step(), 0);
  EXPECT_EQ(status.evaluations(1).step(), 20);
  EXPECT_LT(status.evaluations(1).loss(), status.evaluations(0).loss());
  // The workers are free again.
  ASSERT_TRUE(cluster.Submit(SmallJob("again", 4, 3)).ok());
  EXPECT_TRUE(cluster.WaitForJob(
      "again", 60, [](const v1::JobStatus& again) { return again.state() == v1::JOB_STATE_SUCCEEDED; }));
}

TEST(Training, SeveralRanksInOneDaemon) {
  Cluster cluster;
  cluster.StartCoordinator();
  cluster.StartWorkers(2, {"--ranks", "2"});
  JobConfig job = SmallJob("demo", 4, 5);
  ASSERT_TRUE(cluster.Submit(job).ok());
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, IsFinal));
  v1::JobStatus status = cluster.Job("demo").value();
  EXPECT_EQ(status.state(), v1::JOB_STATE_SUCCEEDED) << status.reason();
  EXPECT_EQ(Losses(status), ReferenceLosses(WithData(job, cluster)));
}

TEST(Training, TwelvePushedPlansChangeNoBit) {
  constexpr int kPlans = 12;
  Cluster cluster;
  cluster.StartCoordinator();
  cluster.StartWorkers(4);
  JobConfig job = SmallJob("demo", 4, 150);
  ASSERT_TRUE(cluster.Submit(job).ok());
  ASSERT_TRUE(cluster.WaitForPlan("demo", 1, v1::PLAN_STATE_ACTIVE, 60));
  for (int version = 2; version <= kPlans + 1; ++version) {
    v1::Plan active = cluster.Plan("demo").value().plan();
    v1::PlanFile next = RotateExperts(active);
    if (version % 4 == 0) MoveHomes(active, version % 3, 3, 2, next);
    absl::StatusOr<v1::PushPlanResponse> pushed = cluster.Push("demo", next);
    ASSERT_TRUE(pushed.ok()) << pushed.status();
    EXPECT_EQ(pushed->plan().version(), version);
    EXPECT_GT(pushed->plan().slot_writes(), 0);
    EXPECT_EQ(pushed->plan().home_moves(), version % 4 == 0 ? 2 : 0);
    ASSERT_TRUE(cluster.WaitForPlan("demo", version, v1::PLAN_STATE_ACTIVE, 30));
  }
  ASSERT_TRUE(cluster.WaitForJob("demo", 120, IsFinal));
  v1::JobStatus status = cluster.Job("demo").value();
  EXPECT_EQ(status.state(), v1::JOB_STATE_SUCCEEDED) << status.reason();
  EXPECT_EQ(status.plans_committed(), kPlans);
  std::vector<double> losses = Losses(status);
  EXPECT_EQ(losses, ReferenceLosses(WithData(job, cluster))) << "bit for bit";
  std::printf("%d plans over %zu steps, last active at step %ld\n", kPlans, losses.size(),
              static_cast<long>(cluster.Plan("demo", kPlans + 1).value().status().switch_step()));
}

}  // namespace
}  // namespace ballast
