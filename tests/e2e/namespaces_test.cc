// Two machines: network namespaces joined by a veth pair, each with its own loopback.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/base/net_namespace.h"
#include "tests/e2e/cluster_on_two_hosts.h"
#include "tests/e2e/plan_edits.h"
#include "tests/e2e/reference_run.h"

namespace ballast {
namespace {

class Namespaces : public ClusterOnTwoHosts {
 protected:
  void SetUp() override {
    ClusterOnTwoHosts::SetUp();
    if (IsSkipped()) return;
    cluster_->SetPrefix(InNamespace(hosts_.near()));
    cluster_->StartCoordinator();
  }
  // Workers 0, 1 near and 2, 3 far; no --data-address: they find it towards the coordinator.
  void StartWorkers(std::vector<std::string> extra_near = {}, std::vector<std::string> extra_far = {}) {
    for (int i = 0; i < 4; ++i) {
      cluster_->SetPrefix(InNamespace(i < 2 ? hosts_.near() : hosts_.far()));
      cluster_->StartWorker(i, i < 2 ? extra_near : extra_far);
    }
    ASSERT_TRUE(cluster_->WaitForWorkers(4, 20));
  }
};

TEST_F(Namespaces, TheSameLossesOverARealLinkAndASwitch) {
  StartWorkers();
  for (const v1::WorkerStatus& worker : cluster_->Workers()) {
    EXPECT_EQ(worker.data_address(), hosts_.address(worker.name() < "w2" ? 1 : 2)) << worker.name();
  }
  JobConfig job = SmallJob("demo", 4, 60);
  ASSERT_TRUE(cluster_->Submit(job).ok());
  ASSERT_TRUE(cluster_->WaitForPlan("demo", 1, v1::PLAN_STATE_ACTIVE, 60));
  v1::PlanFile next = RotateExperts(cluster_->Plan("demo")->plan());
  for (v1::PlanFile::Layer& layer : *next.mutable_layers())
    layer.mutable_schedule()->set_all_to_all("two_level");
  ASSERT_TRUE(cluster_->Push("demo", next).ok());
  EXPECT_TRUE(cluster_->WaitForPlan("demo", 2, v1::PLAN_STATE_ACTIVE, 30));
  ASSERT_TRUE(cluster_->WaitForJob("demo", 120, IsFinal));
  v1::JobStatus status = cluster_->Job("demo").value();
  EXPECT_EQ(status.state(), v1::JOB_STATE_SUCCEEDED) << status.reason();
  for (DataSource& source : job.data.sources) source.prefix = cluster_->data_prefix();
  std::vector<double> losses;
  for (const v1::StepStatus& step : status.recent_steps()) losses.push_back(step.loss());
  EXPECT_EQ(losses, ReferenceLosses(job)) << "bit for bit";
}

TEST_F(Namespaces, ALoopbackAddressIsRefusedForAPeerOnTheOtherHost) {
  StartWorkers({"--data-address", "127.0.0.1"});
  ASSERT_TRUE(cluster_->Submit(SmallJob("demo", 4, 5)).ok());
  ASSERT_TRUE(cluster_->WaitForJob("demo", 30, IsFinal));
  v1::JobStatus status = cluster_->Job("demo").value();
  EXPECT_EQ(status.state(), v1::JOB_STATE_FAILED);
  EXPECT_TRUE(absl::StrContains(status.reason(), "advertises the loopback address 127.0.0.1"))
      << status.reason();
  EXPECT_TRUE(absl::StrContains(status.reason(), "--data-address")) << status.reason();
}

TEST_F(Namespaces, TwoHostsThatBothAdvertiseLoopbackAreToldApart) {
  StartWorkers({"--data-address", "127.0.0.1"}, {"--data-address", "127.0.0.1"});
  ASSERT_TRUE(cluster_->Submit(SmallJob("demo", 4, 5)).ok());
  ASSERT_TRUE(cluster_->WaitForJob("demo", 30, IsFinal));
  v1::JobStatus status = cluster_->Job("demo").value();
  EXPECT_EQ(status.state(), v1::JOB_STATE_FAILED);
  EXPECT_TRUE(absl::StrContains(status.reason(), "advertises the loopback address 127.0.0.1"))
      << status.reason();
  // Two workers of one host meet there.
  ASSERT_TRUE(cluster_->WaitForWorkers(4, 20));
  ASSERT_TRUE(cluster_->Submit(SmallJob("near", 2, 5)).ok());
  ASSERT_TRUE(cluster_->WaitForJob("near", 60, IsFinal));
  status = cluster_->Job("near").value();
  EXPECT_EQ(status.state(), v1::JOB_STATE_SUCCEEDED) << status.reason();
}

TEST_F(Namespaces, ACutLinkIsALostPeerWithinSeconds) {
  StartWorkers();
  JobConfig config = SmallJob("demo", 4, 100000);
  config.recovery.max_recoveries = 0;
  ASSERT_TRUE(cluster_->Submit(config).ok());
  ASSERT_TRUE(cluster_->WaitForJob("demo", 60, [](const v1::JobStatus& job) { return job.step() >= 5; }));
  constexpr double kFigure = 1.5;  // a second of silence, and the word of it
  auto begin = std::chrono::steady_clock::now();
  ASSERT_TRUE(hosts_.CutLink());
  EXPECT_TRUE(cluster_->WaitForJob("demo", 3 * kFigure, IsFinal));
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  v1::JobStatus status = cluster_->Job("demo").value();
  std::printf("link cut to job ended: %.2f s (at most %g s): %s\n", seconds, kFigure,
              status.reason().c_str());
  EXPECT_EQ(status.state(), v1::JOB_STATE_FAILED);
  // The far side cannot say anything; of the near one, w1 and w0 have a neighbour there each.
  EXPECT_TRUE(absl::StrContains(status.reason(), "worker w1 lost rank 2 of worker w2") ||
              absl::StrContains(status.reason(), "worker w0 lost rank 3 of worker w3"))
      << status.reason();
}

}  // namespace
}  // namespace ballast
