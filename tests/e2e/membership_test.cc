// Workers leave and come while a job trains: no step is lost and none is trained twice, whatever happens
// meanwhile.
#include <gtest/gtest.h>
#include <signal.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/e2e/ballastctl.h"
#include "tests/e2e/cluster.h"
#include "tests/e2e/elastic_job.h"
#include "tests/e2e/rollout.h"

namespace ballast {
namespace {

constexpr int64_t kSteps = 150;

// A drain that meets a loss when its ranks have ended: no step is lost.
TEST(Drain, ALossBeforeItsCheckpointIsCompleteCostsNoStep) {
  Cluster cluster;
  cluster.StartCoordinator();
  cluster.StartWorker(0, {"--failpoint", "publish:die"});
  for (int i = 1; i < 4; ++i) cluster.StartWorker(i);
  ASSERT_TRUE(cluster.WaitForWorkers(4, 20));
  JobConfig job = ElasticJob(cluster, 2, 4, 80);
  job.checkpoint.every_steps = 0;  // a recovery would begin with step 1
  ASSERT_TRUE(cluster.Submit(job).ok());
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, AtStep(20)));
  v1::DrainWorkerRequest drain;
  v1::DrainWorkerResponse drained;
  drain.set_name("w3");
  ASSERT_TRUE(cluster.control().DrainWorker(Cluster::Within(10).get(), drain, &drained).ok());
  ASSERT_EQ(cluster.worker(0).Wait(60), 128 + SIGKILL);
  ASSERT_TRUE(cluster.WaitForJob("demo", 30, InGeneration(2)));
  EXPECT_GT(cluster.Plan("demo", 2)->plan().not_before_step(), 20);
  EXPECT_EQ(cluster.Job("demo")->workers_size(), 2);
  ExpectSuccessUndisturbed(cluster, job);
}

// Worker 1 stands still for so long that its neighbours take it for lost, and is back
// before the others go on without it. `ask` is made in between: no step ends any more, so it cannot be
// carried out before the Abort, but in the generation after the next. Ends there.
void AskBeforeAnAbort(Cluster& cluster, const std::function<grpc::Status()>& ask) {
  cluster.worker(1).Signal(SIGSTOP);
  const grpc::Status asked = ask();
  const bool noticed = cluster.WaitForJob(
      "demo", 15, [](const v1::JobStatus& status) { return status.state() == v1::JOB_STATE_RECOVERING; });
  cluster.worker(1).Signal(SIGCONT);
  ASSERT_TRUE(asked.ok()) << asked.error_message();
  ASSERT_TRUE(noticed);
  ASSERT_TRUE(cluster.WaitForJob("demo", 30, InGeneration(3)));
}

// A drain meets an Abort before its step and nobody died. No checkpoint is there to go back to.
TEST(Drain, AnAbortThatNobodyDiedOfCostsNoStep) {
  Cluster cluster;
  cluster.StartCoordinator();
  cluster.StartWorkers(4);
  JobConfig job = ElasticJob(cluster, 3, 4, kSteps);
  job.checkpoint.every_steps = 0;  // a recovery would begin with step 1
  ASSERT_TRUE(cluster.Submit(job).ok());
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, AtStep(20)));
  ASSERT_NO_FATAL_FAILURE(AskBeforeAnAbort(cluster, [&] {
    v1::DrainWorkerRequest drain;
    v1::DrainWorkerResponse drained;
    drain.set_name("w3");
    return cluster.control().DrainWorker(Cluster::Within(10).get(), drain, &drained);
  }));
  EXPECT_EQ(cluster.Job("demo")->workers_size(), 3) << "the drain was carried out";
  EXPECT_GT(cluster.Plan("demo", 2)->plan().not_before_step(), 20) << "on four workers, with what they held";
  ASSERT_TRUE(cluster.WaitForJob("demo", 120, IsFinal));
  const v1::JobStatus status = cluster.Job("demo").value();
  EXPECT_EQ(status.state(), v1::JOB_STATE_SUCCEEDED) << status.reason();
  EXPECT_EQ(status.recent_steps_size(), kSteps);
  // On four ranks the very same sums are made.
  const int64_t on_three = cluster.Plan("demo", 3)->plan().not_before_step();
  ExpectSameBits(cluster, job, status, on_three - 1);
}

// The step that `generation` ended with, as the coordinator's event says; -1 when there is none.
int64_t LastStepOf(Cluster& cluster, int64_t generation) {
  for (const v1::LoggedEvent& event : Events(cluster)) {
    if (absl::StartsWith(event.text(), absl::StrCat("generation ", generation, " ends: ")))
      return event.step();
  }
  return -1;
}

// The texts of the job's events of requests and recoveries, in the order of time.
std::vector<std::string> Changes(Cluster& cluster) {
  std::vector<std::string> texts;
  for (const v1::LoggedEvent& event : Events(cluster)) {
    if (event.kind() == v1::EVENT_KIND_REQUEST || event.kind() == v1::EVENT_KIND_RECOVERY)
      texts.push_back(event.text());
  }
  return texts;
}

// The same as of a drain for a worker that comes: more ranks were asked for before the Abort, and the
// generation behind it, which goes on with what the three held, carries that out.
TEST(ScaleOut, AnAbortThatNobodyDiedOfCostsNoStep) {
  Cluster cluster;
  cluster.StartCoordinator({"--scale-out-after", "0.1"});
  cluster.StartWorkers(4);
  v1::CordonWorkerRequest cordon;
  v1::CordonWorkerResponse cordoned;
  cordon.set_name("w3");
  ASSERT_TRUE(cluster.control().CordonWorker(Cluster::Within(10).get(), cordon, &cordoned).ok());
  JobConfig job = ElasticJob(cluster, 3, 4, kSteps);
  job.checkpoint.every_steps = 0;  // a recovery would begin with step 1
  ASSERT_TRUE(cluster.Submit(job).ok());
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, AtStep(20)));
  ASSERT_EQ(cluster.Job("demo")->workers_size(), 3);
  ASSERT_NO_FATAL_FAILURE(AskBeforeAnAbort(cluster, [&] {
    cordon.set_uncordon(true);
    return cluster.control().CordonWorker(Cluster::Within(10).get(), cordon, &cordoned);
  }));
  EXPECT_EQ(cluster.Job("demo")->workers_size(), 4);
  const std::vector<std::string> changes = Changes(cluster);
  ASSERT_EQ(changes.size(), 3u) << absl::StrJoin(changes, "\n");
  EXPECT_EQ(changes[0], "from 3 to 4 ranks, which are there now: the next generation follows");
  EXPECT_TRUE(absl::StartsWith(changes[1], "generation 1 ends: ")) << changes[1];
  EXPECT_TRUE(absl::StrContains(changes[1], " lost rank 1 of worker w1: ")) << changes[1];
  EXPECT_EQ(changes[2], "generation 2 ends: from 3 to 4 ranks, which are there now");
  // The Abort may come before the last step's report.
  EXPECT_GT(cluster.Plan("demo", 2)->plan().not_before_step(), LastStepOf(cluster, 1));
  const int64_t on_four = cluster.Plan("demo", 3)->plan().not_before_step();
  EXPECT_EQ(on_four, LastStepOf(cluster, 2) + 1);
  ASSERT_TRUE(cluster.WaitForJob("demo", 120, IsFinal));
  const v1::JobStatus status = cluster.Job("demo").value();
  EXPECT_EQ(status.state(), v1::JOB_STATE_SUCCEEDED) << status.reason();
  EXPECT_EQ(status.generation(), 3);
  EXPECT_EQ(status.recent_steps_size(), kSteps);
  ExpectUndisturbed(cluster, job, status);
  // On three ranks the very same sums are made as by three that nothing happens to.
  job.placement.ranks = 3;
  ExpectSameBits(cluster, job, status, on_four - 1);
}

// What `change` does to the job: a generation that begins behind every step that was seen before. Its first
// plan has the generation's number, since no other plans are made.
void ExpectNoStepTwice(Cluster& cluster, int64_t generation, const std::function<void()>& change) {
  const int64_t seen = cluster.Job("demo")->step();
  change();
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, InGeneration(generation)));
  const auto plan = cluster.Plan("demo", generation);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->status().generation(), generation);
  EXPECT_GT(plan->plan().not_before_step(), seen) << "generation " << generation;
  // To the step: it begins right behind the one that the generation before it ended with.
  EXPECT_EQ(plan->plan().not_before_step(), LastStepOf(cluster, generation - 1) + 1);
  // It goes on: what is seen before the next change is of this generation.
  ASSERT_TRUE(cluster.WaitForJob("demo", 40, AtStep(plan->plan().not_before_step() + 5)));
}

// "busy, cordoned" is what an operator sees of a worker that keeps its ranks.
TEST(Drain, ACordonedWorkerKeepsItsRanks) {
  Cluster cluster;
  cluster.StartCoordinator({"--scale-out-after", "0.5"});
  cluster.StartWorkers(2);
  JobConfig job = ElasticJob(cluster, 1, 1, 100000);
  job.checkpoint.every_steps = 0;
  ASSERT_TRUE(cluster.Submit(job).ok());
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, AtStep(5)));
  std::string said;
  ASSERT_EQ(Ctl(cluster, {"worker", "cordon", "w0"}, said), 0) << said;
  EXPECT_TRUE(absl::StrContains(said, "busy, cordoned")) << said;
  ASSERT_EQ(Ctl(cluster, {"worker", "cordon", "w1"}, said), 0) << said;
  EXPECT_TRUE(absl::StrContains(said, "idle, cordoned")) << said;
  const int64_t step = cluster.Job("demo")->step();
  ASSERT_TRUE(cluster.WaitForJob("demo", 40, AtStep(step + 5)));
  EXPECT_EQ(cluster.Job("demo")->generation(), 1);
  // A job that comes now has to wait.
  job.name = JobId("next");
  job.training.steps = 10;
  ASSERT_TRUE(cluster.Submit(job).ok());
  EXPECT_EQ(cluster.Job("next")->state(), v1::JOB_STATE_QUEUED);
  ASSERT_EQ(Ctl(cluster, {"worker", "uncordon", "w1"}, said), 0) << said;
  EXPECT_FALSE(absl::StrContains(said, "cordoned")) << said;
  ASSERT_TRUE(cluster.WaitForJob("next", 60, IsFinal));
  EXPECT_EQ(cluster.Job("next")->state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(Ctl(cluster, {"worker", "cordon", "nobody"}, said), 3) << said;
  EXPECT_TRUE(absl::StrContains(said, "no worker nobody")) << said;
}

// A drain and the way back: no step is lost and none is trained twice.
TEST(Drain, AWorkerLeavesAtAStepBoundaryAndComesBack) {
  Cluster cluster;
  cluster.StartCoordinator({"--scale-out-after", "0.5"});
  cluster.StartWorkers(4);
  JobConfig job = ElasticJob(cluster, 3, 4, kSteps);
  job.training.steps = 100000;  // stopped by request
  job.checkpoint.every_steps = 0;
  ASSERT_TRUE(cluster.Submit(job).ok());
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, AtStep(20)));

  ExpectNoStepTwice(cluster, 2, [&] {
    std::string said;
    EXPECT_EQ(Ctl(cluster, {"worker", "drain", "w1", "--wait"}, said), 0) << said;
    EXPECT_TRUE(absl::StrContains(said, "idle, cordoned")) << said;
  });
  EXPECT_EQ(cluster.Job("demo")->workers_size(), 3);
  for (const v1::WorkerStatus& worker : cluster.Workers()) {
    EXPECT_EQ(worker.job().empty(), worker.name() == "w1") << worker.ShortDebugString();
    EXPECT_EQ(worker.cordoned(), worker.name() == "w1") << worker.ShortDebugString();
  }
  // It may work again: the job takes it when it has settled.
  ExpectNoStepTwice(cluster, 3, [&] {
    std::string said;
    EXPECT_EQ(Ctl(cluster, {"worker", "uncordon", "w1"}, said), 0) << said;
  });
  EXPECT_EQ(cluster.Job("demo")->workers_size(), 4);
  // A worker that is stopped is drained, too, and exits with 0.
  ExpectNoStepTwice(cluster, 4, [&] {
    cluster.worker(2).Signal(SIGTERM);
    EXPECT_EQ(cluster.worker(2).Wait(40), 0);
  });

  v1::StopJobRequest stop;
  v1::StopJobResponse stopping;
  stop.set_name("demo");
  ASSERT_TRUE(cluster.control().StopJob(Cluster::Within(10).get(), stop, &stopping).ok());
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, IsFinal));
  const v1::JobStatus status = cluster.Job("demo").value();
  EXPECT_EQ(status.state(), v1::JOB_STATE_SUCCEEDED) << status.reason();
  EXPECT_EQ(status.generation(), 4);
  for (int i = 1; i < status.recent_steps_size(); ++i) {
    EXPECT_EQ(status.recent_steps(i).step(), status.recent_steps(i - 1).step() + 1);
  }
  ExpectUndisturbed(cluster, job, status);
}

}  // namespace
}  // namespace ballast
