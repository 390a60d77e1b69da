// Strategies that need a sample of tokens, on real daemons that say they are on two nodes.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/e2e/ballastctl.h"
#include "tests/e2e/cluster.h"
#include "tests/e2e/reference_run.h"

namespace ballast {
namespace {

constexpr int kRanks = 4;

// No slot to spare, so that experts move and none is copied.
JobConfig Job(const std::string& strategy, int64_t steps) {
  JobConfig job = SmallJob("demo", kRanks, steps);
  job.placement.slots_per_rank = 2;
  job.planner.strategy = strategy;
  job.planner.plan_every_steps = 10;
  job.planner.warmup_steps = 5;
  job.planner.horizon_steps = 20;
  return job;
}

std::vector<double> Losses(const v1::JobStatus& job) {
  std::vector<double> losses;
  for (const v1::StepStatus& step : job.recent_steps()) losses.push_back(step.loss());
  return losses;
}

class Tokens : public testing::Test {
 protected:
  Tokens() {
    cluster_.StartCoordinator();
    cluster_.StartWorkers(kRanks);  // two say that they are on one node
  }

  v1::GetTokensResponse Sample() {
    v1::GetTokensRequest request;
    v1::GetTokensResponse response;
    request.set_job("demo");
    const grpc::Status status = cluster_.control().GetTokens(Cluster::Within(10).get(), request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }
  v1::ListPlansResponse Plans() {
    v1::ListPlansRequest request;
    v1::ListPlansResponse response;
    request.set_job("demo");
    EXPECT_TRUE(cluster_.control().ListPlans(Cluster::Within(10).get(), request, &response).ok());
    return response;
  }
  v1::JobStatus RunToTheEnd(const JobConfig& job) {
    EXPECT_TRUE(cluster_.Submit(job).ok());
    EXPECT_TRUE(cluster_.WaitForJob("demo", 60, IsFinal));
    v1::JobStatus status = cluster_.Job("demo").value();
    EXPECT_EQ(status.state(), v1::JOB_STATE_SUCCEEDED) << status.reason();
    return status;
  }
  std::vector<double> Reference(JobConfig job) {
    for (DataSource& source : job.data.sources) source.prefix = cluster_.data_prefix();
    return ReferenceLosses(job);
  }

  Cluster cluster_;
};

class PlannedByTokens : public Tokens, public testing::WithParamInterface<const char*> {};

TEST_P(PlannedByTokens, ExpertsMoveAndNoBitChanges) {
  const JobConfig job = Job(GetParam(), 200);
  const v1::JobStatus status = RunToTheEnd(job);
  EXPECT_EQ(Losses(status), Reference(job)) << "bit for bit";
  const v1::ListPlansResponse plans = Plans();
  const auto planned = std::find_if(plans.plans().begin(), plans.plans().end(), [](const auto& plan) {
    return plan.origin() == v1::PLAN_ORIGIN_PLANNER && plan.state() == v1::PLAN_STATE_ACTIVE &&
           plan.slot_writes() > 0;
  });
  ASSERT_NE(planned, plans.plans().end()) << plans.DebugString();
  std::printf("%s: step %ld: %s\n", GetParam(), static_cast<long>(planned->switch_step()),
              planned->reason().c_str());
  const v1::GetTokensResponse sample = Sample();
  EXPECT_EQ(sample.tokens(), 12);
  EXPECT_EQ(sample.sequences_size(), 256) << "the newest of those that 200 steps of 4 have told";
  const std::string loads = cluster_.dir() / "loads.npy", tokens = cluster_.dir() / "tokens.npy";
  std::string said;
  EXPECT_EQ(Ctl(cluster_, {"trace", "save", "demo", "--out", loads, "--tokens", tokens}, said), 0) << said;
  EXPECT_NE(said.find("256 sequences of 12 tokens"), std::string::npos) << said;
  EXPECT_EQ(Ctl(cluster_,
                {"replay", "--loads", loads, "--gpus", "4", "--gpus-per-node", "2", "--slots", "2",
                 "--tokens", tokens, "--strategy", GetParam()},
                said),
            0)
      << said;
}

INSTANTIATE_TEST_SUITE_P(Strategies, PlannedByTokens, testing::Values("coactivation", "kmeans", "genetic"),
                         [](const auto& info) { return std::string(info.param); });

TEST_F(Tokens, OtherStrategiesTellNone) {
  RunToTheEnd(Job("auto", 30));
  EXPECT_EQ(Sample().sequences_size(), 0);
}

}  // namespace
}  // namespace ballast
