// A daemon dies, stands still or is cut off at a chosen place of a plan's rollout. Whatever becomes of the
// plan, the job goes on, and its losses are those of a run that nothing happened to.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/base/net_namespace.h"
#include "tests/e2e/cluster_on_two_hosts.h"
#include "tests/e2e/elastic_job.h"
#include "tests/e2e/rollout.h"

namespace ballast {
namespace {

std::string NameOf(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  for (char& c : name) c = c == '-' ? '_' : c;
  return name;
}

// ---- a worker ----

class Worker : public testing::TestWithParam<std::string> {
 protected:
  // Four workers, the last one with `failpoint`; ends when it has been met.
  void Meet(const std::string& failpoint, int64_t steps) {
    cluster_.StartCoordinator();
    cluster_.StartWorkers(3);
    cluster_.StartWorker(3, {"--failpoint", failpoint});
    ASSERT_TRUE(cluster_.WaitForWorkers(4, 20));
    job_ = ElasticJob(cluster_, 3, 4, steps);
    ASSERT_TRUE(cluster_.Submit(job_).ok());
    EXPECT_TRUE(PushAtStep12(cluster_).get());
  }
  // Of plan 2, once the generation without the worker is there: nobody was on it.
  void ExpectOvertaken() {
    const v1::PlanState state = cluster_.Plan("demo", 2)->status().state();
    EXPECT_EQ(state, GetParam() == "stage" ? v1::PLAN_STATE_ABORTED : v1::PLAN_STATE_SUPERSEDED);
  }

  Cluster cluster_;
  JobConfig job_;
};

TEST_P(Worker, DiesAndTheOthersGoOn) {
  Meet(GetParam() + ":die", 80);
  ASSERT_EQ(cluster_.worker(3).Wait(20), 128 + SIGKILL);
  const v1::JobStatus status = EndOf(cluster_);
  EXPECT_EQ(status.generation(), 2);
  EXPECT_EQ(status.plan_version(), 3);
  ExpectOvertaken();
  ExpectUndisturbed(cluster_, job_, status);
}

TEST_P(Worker, StandsStillAndIsOutWhenItWakesUp) {
  Meet(GetParam() + ":stop", 80);
  ASSERT_TRUE(WaitUntilStill(cluster_.worker(3).pid(), 20));
  ASSERT_TRUE(cluster_.WaitForJob("demo", 30, [](const v1::JobStatus& job) {
    return job.generation() == 2 && (job.state() == v1::JOB_STATE_RUNNING || IsFinal(job));
  }));
  cluster_.worker(3).Signal(SIGCONT);
  const v1::JobStatus status = EndOf(cluster_);
  EXPECT_EQ(status.generation(), 2);
  ExpectOvertaken();
  EXPECT_TRUE(cluster_.WaitForWorkers(4, 20));
  ExpectUndisturbed(cluster_, job_, status);
}

INSTANTIATE_TEST_SUITE_P(Chaos, Worker, testing::Values("stage", "commit", "decided", "active"), NameOf);

// ---- the coordinator ----

class Coordinator : public testing::TestWithParam<std::string> {
 protected:
  void Meet(const std::string& failpoint) {
    cluster_.StartCoordinator({"--failpoint", failpoint});
    cluster_.StartWorkers(4);
    job_ = ElasticJob(cluster_, 3, 4, 100);
    ASSERT_TRUE(cluster_.Submit(job_).ok());
    pushed_ = PushAtStep12(cluster_);
  }
  // No rank is lost, so there is one generation, and the plan becomes active.
  void ExpectSwitched() {
    EXPECT_TRUE(cluster_.WaitForPlan("demo", 2, v1::PLAN_STATE_ACTIVE, 30));
    const v1::JobStatus status = EndOf(cluster_);
    EXPECT_EQ(status.generation(), 1);
    EXPECT_EQ(status.plan_version(), 2);
    ExpectUndisturbed(cluster_, job_, status);
  }

  Cluster cluster_;
  JobConfig job_;
  std::future<bool> pushed_;
};

TEST_P(Coordinator, DiesAndTheNextOneFinishesTheRollout) {
  Meet(GetParam() + ":die");
  ASSERT_EQ(cluster_.coordinator().Wait(20), 128 + SIGKILL);
  cluster_.StartCoordinator();
  ExpectSwitched();
}

TEST_P(Coordinator, StandsStillAndGoesOnWhereItWas) {
  Meet(GetParam() + ":stop");
  ASSERT_TRUE(WaitUntilStill(cluster_.coordinator().pid(), 20));
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  cluster_.coordinator().Signal(SIGCONT);
  EXPECT_TRUE(pushed_.get());
  ExpectSwitched();
}

INSTANTIATE_TEST_SUITE_P(Chaos, Coordinator,
                         testing::Values("before-stage", "after-stage", "before-commit", "after-commit",
                                         "before-active"),
                         NameOf);

// ---- the network ----

class Partition : public ClusterOnTwoHosts, public testing::WithParamInterface<std::string> {
 protected:
  // What became of plan 2 by the end of generation 1: proposed only, it is aborted; when nobody was told that
  // it is committed, it is superseded; when one was, all ranks switched before the link was cut.
  void ExpectResolved() {
    const absl::StatusOr<v1::GetPlanResponse> plan = cluster_->Plan("demo", 2);
    ASSERT_TRUE(plan.ok()) << plan.status();
    const std::string& place = GetParam();
    const v1::PlanStatus& status = plan->status();
    EXPECT_EQ(status.state(), place.ends_with("-stage")  ? v1::PLAN_STATE_ABORTED
                              : place == "before-commit" ? v1::PLAN_STATE_SUPERSEDED
                                                         : v1::PLAN_STATE_ACTIVE)
        << status.ShortDebugString();
    EXPECT_EQ(SwitchedWorkers(*cluster_, 4), status.state() == v1::PLAN_STATE_ACTIVE ? 4 : 0);
    EXPECT_EQ(status.switch_step() > 0, status.state() == v1::PLAN_STATE_ACTIVE) << status.ShortDebugString();
    EXPECT_EQ(status.outcome().empty(), status.state() == v1::PLAN_STATE_ACTIVE) << status.ShortDebugString();
  }
};

// Two workers and the coordinator on one side, two workers on the other: those that the coordinator reaches
// go on, and take the others back when the link is there again.
TEST_P(Partition, TheCoordinatorsSideGoesOnAndTakesTheOthersBack) {
  cluster_->SetPrefix(InNamespace(hosts_.near()));
  cluster_->StartCoordinator({"--scale-out-after", "0.2", "--failpoint", GetParam() + ":stop"});
  for (int i = 0; i < 4; ++i) {
    cluster_->SetPrefix(InNamespace(i < 2 ? hosts_.near() : hosts_.far()));
    cluster_->StartWorker(i);
  }
  ASSERT_TRUE(cluster_->WaitForWorkers(4, 20));
  JobConfig job = ElasticJob(*cluster_, 2, 4, 100000);  // stopped by request
  job.data.sequence_length = 48;                        // slower steps: there should be tens of them
  job.training.global_batch_sequences = 12;
  ASSERT_TRUE(cluster_->Submit(job).ok());
  std::future<bool> pushed = PushAtStep12(*cluster_);
  // The process that was started is the coordinator: ip execs it.
  ASSERT_TRUE(WaitUntilStill(cluster_->coordinator().pid(), 20));
  // One worker has the word: the ranks switch by themselves. In the other places they have, or cannot.
  if (GetParam() == "after-commit") {
    ASSERT_TRUE(WaitUntilSwitched(*cluster_, 4, 20));
  }
  ASSERT_TRUE(hosts_.CutLink());
  cluster_->coordinator().Signal(SIGCONT);
  ASSERT_TRUE(cluster_->WaitForJob("demo", 30, [](const v1::JobStatus& status) {
    return status.generation() == 2 && status.state() == v1::JOB_STATE_RUNNING;
  }));
  EXPECT_EQ(cluster_->Job("demo")->workers_size(), 2);
  ExpectResolved();
  ASSERT_TRUE(hosts_.MendLink());
  ASSERT_TRUE(cluster_->WaitForJob("demo", 60, [](const v1::JobStatus& status) {
    return status.workers_size() == 4 && status.state() == v1::JOB_STATE_RUNNING;
  }));
  const int64_t step = cluster_->Job("demo")->step();
  ASSERT_TRUE(cluster_->WaitForJob("demo", 40, AtStep(step + 5)));
  const v1::JobStatus status = StopAndEnd(*cluster_);
  ExpectUndisturbed(*cluster_, job, status);
}

INSTANTIATE_TEST_SUITE_P(Chaos, Partition,
                         testing::Values("before-stage", "after-stage", "before-commit", "after-commit",
                                         "before-active"),
                         NameOf);

}  // namespace
}  // namespace ballast
