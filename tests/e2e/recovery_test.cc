// A worker is lost in mid-run: the job goes on in another generation, from a checkpoint, and its losses are
// those of a run that nothing happened to.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "tests/e2e/ballastctl.h"
#include "tests/e2e/cluster.h"
#include "tests/e2e/elastic_job.h"
#include "tests/e2e/rollout.h"

namespace ballast {
namespace {

int64_t UnixMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// Seconds from `since_unix_ms` to the coordinator's event that the generation is over.
double NoticedAfter(Cluster& cluster, int64_t since_unix_ms) {
  for (const v1::LoggedEvent& event : Events(cluster, since_unix_ms)) {
    if (event.kind() == v1::EVENT_KIND_RECOVERY)
      return 1e-3 * static_cast<double>(event.unix_ms() - since_unix_ms);
  }
  ADD_FAILURE() << "no event tells of the recovery";
  return 0;
}

// Rank r of `after` has every expert that rank from[r] of `before` had, in the same slot.
void ExpectKept(const v1::Plan& before, const v1::Plan& after, const std::vector<int>& from) {
  ASSERT_EQ(before.body().layers_size(), after.body().layers_size());
  for (int l = 0; l < before.body().layers_size(); ++l) {
    for (int r = 0; r < static_cast<int>(from.size()); ++r) {
      const auto& had = before.body().layers(l).slots(from[static_cast<size_t>(r)]).experts();
      const auto& has = after.body().layers(l).slots(r).experts();
      ASSERT_EQ(had.size(), has.size());
      for (int s = 0; s < had.size(); ++s) {
        if (had.Get(s) < 0) continue;
        EXPECT_EQ(has.Get(s), had.Get(s)) << "layer " << l << " rank " << r << " slot " << s;
      }
    }
  }
}

constexpr int64_t kSteps = 150;

TEST(Recovery, KilledInMidRunTheJobGoesOnFromACheckpointOnThreeRanks) {
  Cluster cluster;
  cluster.StartCoordinator();
  cluster.StartWorkers(4);
  const JobConfig job = ElasticJob(cluster, 3, 4, kSteps);
  ASSERT_TRUE(cluster.Submit(job).ok());
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, AtStep(45)));
  const int64_t killed = UnixMs();
  cluster.worker(2).Kill();
  ASSERT_TRUE(cluster.WaitForJob("demo", 15, InGeneration(2)));
  const double running_s = 1e-3 * static_cast<double>(UnixMs() - killed);
  const int64_t first = cluster.Plan("demo", 2)->plan().not_before_step();
  EXPECT_EQ(first % 10, 1) << "behind a checkpoint";
  ExpectKept(cluster.Plan("demo", 1)->plan(), cluster.Plan("demo", 2)->plan(), {0, 1, 3});
  ASSERT_TRUE(cluster.WaitForJob("demo", 15, AtStep(first)));
  const double step_s = 1e-3 * static_cast<double>(UnixMs() - killed);
  const double noticed_s = NoticedAfter(cluster, killed);
  v1::JobStatus status = cluster.Job("demo").value();
  EXPECT_EQ(status.workers_size(), 3);
  ASSERT_GT(status.recent_steps_size(), 0);
  ASSERT_TRUE(cluster.WaitForJob("demo", 120, IsFinal));
  status = cluster.Job("demo").value();
  EXPECT_EQ(status.state(), v1::JOB_STATE_SUCCEEDED) << status.reason();
  EXPECT_EQ(status.step(), kSteps);
  EXPECT_EQ(status.recent_steps_size(), kSteps)
      << "one point of each step, also of those that were trained twice";
  ExpectUndisturbed(cluster, job, status);
  std::printf(
      "kill -9 of a worker: noticed after %.3f s, running again after %.3f s, next step after %.3f s\n",
      noticed_s, running_s, step_s);
  EXPECT_LT(noticed_s, 3 * 1);
  EXPECT_LT(step_s, 3 * 5);
}

TEST(Recovery, AFrozenWorkerIsLeftBehindAndComesBackWhenItWakesUp) {
  Cluster cluster;
  cluster.StartCoordinator();
  cluster.StartWorkers(4);
  const JobConfig job = ElasticJob(cluster, 3, 4, kSteps);
  ASSERT_TRUE(cluster.Submit(job).ok());
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, AtStep(25)));
  cluster.worker(1).Signal(SIGSTOP);
  const int64_t stopped = UnixMs();
  ASSERT_TRUE(cluster.WaitForJob("demo", 30, InGeneration(2)));
  std::printf("SIGSTOP of a worker: noticed after %.3f s, running again after %.3f s\n",
              NoticedAfter(cluster, stopped), 1e-3 * static_cast<double>(UnixMs() - stopped));
  cluster.worker(1).Signal(SIGCONT);
  EXPECT_TRUE(cluster.WaitForWorkers(4, 20)) << "refused in the old generation, it attaches and is free";
  ExpectSuccessUndisturbed(cluster, job);
}

TEST(Recovery, WithTooFewRanksItWaitsAndGoesOnByItself) {
  Cluster cluster;
  cluster.StartCoordinator();
  cluster.StartWorkers(2);
  JobConfig job = SmallJob("demo", 2, 60);
  job.checkpoint.path = cluster.dir() / "checkpoints";
  job.checkpoint.every_steps = 5;
  ASSERT_TRUE(cluster.Submit(job).ok());
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, AtStep(12)));
  cluster.worker(0).Kill();
  ASSERT_TRUE(cluster.WaitForJob("demo", 20, [](const v1::JobStatus& status) {
    return status.state() == v1::JOB_STATE_RECOVERING &&
           absl::StrContains(status.reason(), "waits for 2 idle ranks; 1 are attached");
  }));
  cluster.StartWorker(0);
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, IsFinal));
  const v1::JobStatus status = cluster.Job("demo").value();
  EXPECT_EQ(status.state(), v1::JOB_STATE_SUCCEEDED) << status.reason();
  EXPECT_EQ(status.generation(), 2);
  ExpectUndisturbed(cluster, job, status);
}

TEST(Recovery, ACoordinatorThatDiesMeanwhileDoesNotMatter) {
  Cluster cluster;
  cluster.StartCoordinator();
  cluster.StartWorkers(4);
  const JobConfig job = ElasticJob(cluster, 3, 4, kSteps);
  ASSERT_TRUE(cluster.Submit(job).ok());
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, AtStep(25)));
  cluster.coordinator().Kill();
  cluster.worker(3).Kill();
  cluster.StartCoordinator();
  ASSERT_TRUE(cluster.WaitForJob("demo", 30, InGeneration(2)));
  ExpectSuccessUndisturbed(cluster, job);
}

// Its publisher dies when all ranks have written their parts: another one completes it.
TEST(Recovery, ACheckpointThatAllHaveWrittenCountsThoughItsPublisherDies) {
  Cluster cluster;
  cluster.StartCoordinator();
  cluster.StartWorker(0, {"--failpoint", "publish:die"});
  for (int i = 1; i < 4; ++i) cluster.StartWorker(i);
  ASSERT_TRUE(cluster.WaitForWorkers(4, 20));
  const JobConfig job = ElasticJob(cluster, 3, 4, 60);
  ASSERT_TRUE(cluster.Submit(job).ok());
  ASSERT_EQ(cluster.worker(0).Wait(60), 128 + SIGKILL);
  ASSERT_TRUE(cluster.WaitForJob("demo", 30, InGeneration(2)));
  EXPECT_EQ(cluster.Plan("demo", 2)->plan().not_before_step(), 11) << "behind the job's first checkpoint";
  ExpectSuccessUndisturbed(cluster, job);
}

}  // namespace
}  // namespace ballast
