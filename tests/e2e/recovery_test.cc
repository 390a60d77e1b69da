// A worker is lost in mid-run: the job goes on in another generation, from a checkpoint, and its losses are
// those of a run that nothing happened to.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/e2e/ballastctl.h"
#include "tests/e2e/cluster.h"
#include "tests/e2e/elastic_job.h"

namespace ballast {
namespace {

int64_t UnixMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::vector<v1::LoggedEvent> Events(Cluster& cluster, int64_t since_unix_ms = 0) {
  v1::ListEventsRequest request;
  v1::ListEventsResponse response;
  request.set_job("demo");
  request.set_since_unix_ms(since_unix_ms);
  EXPECT_TRUE(cluster.control().ListEvents(Cluster::Within(10).get(), request, &response).ok());
  return {response.events().begin(), response.events().end()};
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

auto AtStep(int64_t step) {
  return [step](const v1::JobStatus& job) { return job.step() >= step; };
}
auto InGeneration(int64_t generation) {
  return [generation](const v1::JobStatus& job) {
    return job.generation() == generation && job.state() == v1::JOB_STATE_RUNNING;
  };
}

// Waits for the job's end.
void ExpectSuccessUndisturbed(Cluster& cluster, const JobConfig& job) {
  ASSERT_TRUE(cluster.WaitForJob("demo", 120, IsFinal));
  const v1::JobStatus status = cluster.Job("demo").value();
  EXPECT_EQ(status.state(), v1::JOB_STATE_SUCCEEDED) << status.reason();
  ExpectUndisturbed(cluster, job, status);
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

// A drain meets an Abort before its step and nobody died: a worker stands still for so long that its
// neighbours take it for lost, and is back before the others go on without it. No checkpoint is there to go
// back to.
TEST(Drain, AnAbortThatNobodyDiedOfCostsNoStep) {
  Cluster cluster;
  cluster.StartCoordinator();
  cluster.StartWorkers(4);
  JobConfig job = ElasticJob(cluster, 3, 4, kSteps);
  job.checkpoint.every_steps = 0;  // a recovery would begin with step 1
  ASSERT_TRUE(cluster.Submit(job).ok());
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, AtStep(20)));
  cluster.worker(1).Signal(SIGSTOP);
  v1::DrainWorkerRequest drain;
  v1::DrainWorkerResponse drained;
  drain.set_name("w3");
  const grpc::Status asked = cluster.control().DrainWorker(Cluster::Within(10).get(), drain, &drained);
  const bool noticed = cluster.WaitForJob(
      "demo", 15, [](const v1::JobStatus& status) { return status.state() == v1::JOB_STATE_RECOVERING; });
  cluster.worker(1).Signal(SIGCONT);
  ASSERT_TRUE(asked.ok()) << asked.error_message();
  ASSERT_TRUE(noticed);
  ASSERT_TRUE(cluster.WaitForJob("demo", 30, InGeneration(3)));
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
  // No step ends from here on, so what is asked for now cannot be carried out before the Abort.
  cluster.worker(1).Signal(SIGSTOP);
  cordon.set_uncordon(true);
  const grpc::Status asked = cluster.control().CordonWorker(Cluster::Within(10).get(), cordon, &cordoned);
  const bool noticed = cluster.WaitForJob(
      "demo", 15, [](const v1::JobStatus& status) { return status.state() == v1::JOB_STATE_RECOVERING; });
  cluster.worker(1).Signal(SIGCONT);
  ASSERT_TRUE(asked.ok()) << asked.error_message();
  ASSERT_TRUE(noticed);
  ASSERT_TRUE(cluster.WaitForJob("demo", 30, InGeneration(3)));
  EXPECT_EQ(cluster.Job("demo")->workers_size(), 4);
  const std::vector<std::string> changes = Changes(cluster);
  ASSERT_EQ(changes.size(), 3u) << absl::StrJoin(changes, "\n");
  EXPECT_EQ(changes[0], "from 3 to 4 ranks, which are there now: the next generation follows");
  EXPECT_TRUE(absl::StartsWith(changes[1], "generation 1 ends: ")) << changes[1];
  EXPECT_TRUE(absl::StrContains(changes[1], " lost rank 1 of worker w1: ")) << changes[1];
  EXPECT_TRUE(absl::StartsWith(changes[2], "generation 2 ends: all ranks have ended for a change"))
      << changes[2];
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
