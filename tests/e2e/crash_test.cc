// The coordinator dies: training does not notice, and what was decided stays decided.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <cstdio>
#include <map>
#include <sstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/e2e/cluster.h"
#include "tests/e2e/plan_edits.h"
#include "tests/e2e/reference_run.h"

namespace ballast {
namespace {

using SteadyPoint = std::chrono::steady_clock::time_point;

double SecondsSince(SteadyPoint begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

auto AtStep(int64_t step) {
  return [step](const v1::JobStatus& job) { return job.step() >= step; };
}

// rank -> the step at which it began to run `plan`, from what the workers logged.
std::map<int, int64_t> SwitchSteps(Cluster& cluster, int workers, int64_t plan) {
  std::map<int, int64_t> steps;
  for (int i = 0; i < workers; ++i) {
    std::istringstream lines(cluster.worker(i).Output());
    for (std::string line; std::getline(lines, line);) {
      int rank = 0;
      long step = 0, version = 0;
      size_t at = line.find("event=\"plan active\"");
      if (at == std::string::npos) continue;
      if (std::sscanf(line.c_str() + line.find(" rank="), " rank=%d step=%ld plan=%ld", &rank, &step,
                      &version) == 3 &&
          version == plan) {
        steps[rank] = step;
      }
    }
  }
  return steps;
}

// Longer than any step may take, so that a step that waited for the coordinator stands out.
constexpr double kOutageSeconds = 6;
constexpr double kSlowestStepSeconds = 5;

TEST(CoordinatorCrash, KilledInMidRunNoStepWaitsAndAPlanCanBePushedAfterwards) {
  Cluster cluster;
  cluster.StartCoordinator();
  cluster.StartWorkers(4);
  JobConfig job = SmallJob("demo", 4, 100000);  // stopped by request
  ASSERT_TRUE(cluster.Submit(job).ok());
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, AtStep(20)));
  const int64_t step_before = cluster.Job("demo")->step();
  cluster.coordinator().Kill();
  SteadyPoint down = std::chrono::steady_clock::now();
  std::this_thread::sleep_for(std::chrono::duration<double>(kOutageSeconds));
  cluster.StartCoordinator();
  ASSERT_TRUE(cluster.WaitForWorkers(4, 15));
  double attached_s = SecondsSince(down);
  ASSERT_TRUE(cluster.WaitForJob("demo", 15, [](const v1::JobStatus& status) {
    return status.state() == v1::JOB_STATE_RUNNING && status.recent_steps_size() > 0;
  }));

  const int64_t step_after = cluster.Job("demo")->step();

  v1::PlanFile next = RotateExperts(cluster.Plan("demo").value().plan());
  absl::StatusOr<v1::PushPlanResponse> pushed = cluster.Push("demo", next);
  ASSERT_TRUE(pushed.ok()) << pushed.status();
  EXPECT_TRUE(cluster.WaitForPlan("demo", pushed->plan().version(), v1::PLAN_STATE_ACTIVE, 30));
  v1::StopJobRequest stop;
  v1::StopJobResponse stopping;
  stop.set_name("demo");
  grpc::Status stopped = cluster.control().StopJob(Cluster::Within(10).get(), stop, &stopping);
  ASSERT_TRUE(stopped.ok()) << stopped.error_message();
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, IsFinal));
  v1::JobStatus status = cluster.Job("demo").value();
  EXPECT_EQ(status.state(), v1::JOB_STATE_SUCCEEDED) << status.reason();

  // Steps of the outage were reported afterwards, and none of them waited for it to end.
  for (DataSource& source : job.data.sources) source.prefix = cluster.data_prefix();
  std::vector<double> reference = ReferenceLosses(job, status.step());
  ASSERT_GE(static_cast<int64_t>(reference.size()), status.step());
  double slowest_s = 0;
  const int64_t tokens = job.training.global_batch_sequences * job.data.sequence_length;
  ASSERT_GT(status.recent_steps_size(), 0);
  EXPECT_EQ(status.recent_steps(status.recent_steps_size() - 1).step(), status.step());
  for (int i = 0; i < status.recent_steps_size(); ++i) {
    const v1::StepStatus& step = status.recent_steps(i);
    EXPECT_EQ(step.loss(), reference[static_cast<size_t>(step.step() - 1)]) << step.step();
    if (i > 0) {
      EXPECT_EQ(step.step(), status.recent_steps(i - 1).step() + 1) << "a report was lost";
    }
    slowest_s = std::max(slowest_s, static_cast<double>(tokens) / step.tokens_per_s());
  }
  EXPECT_LT(slowest_s, kSlowestStepSeconds);
  EXPECT_GT(step_after, step_before + 10) << "training went on meanwhile";

  // What was recorded before the crash is still there for a trace.
  v1::GetLoadRequest ask;
  v1::GetLoadResponse load;
  ask.set_job("demo");
  ask.set_layer(0);
  ask.set_steps(4096);
  grpc::Status got = cluster.control().GetLoad(Cluster::Within(10).get(), ask, &load);
  ASSERT_TRUE(got.ok()) << got.error_message();
  ASSERT_GT(load.steps_size(), step_before);
  if (load.steps_size() < 4096) {
    EXPECT_EQ(load.steps(0).step(), 1);
  }
  std::printf(
      "re-attached %.2f s after the kill, steps %ld to %ld meanwhile; reports from step %ld to %ld; "
      "slowest step %.3f s\n",
      attached_s, static_cast<long>(step_before), static_cast<long>(step_after),
      static_cast<long>(status.recent_steps(0).step()), static_cast<long>(status.step()), slowest_s);
}

TEST(CoordinatorCrash, KilledForGoodAfterOneCommitEveryRankSwitchesAtOneStep) {
  Cluster cluster;
  cluster.StartCoordinator({"--failpoint", "after-commit:die"});
  cluster.StartWorkers(4);
  ASSERT_TRUE(cluster.Submit(SmallJob("demo", 4, 200)).ok());
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, AtStep(5)));
  // The answer says PROPOSED, so the coordinator dies after it.
  absl::StatusOr<v1::PushPlanResponse> pushed =
      cluster.Push("demo", RotateExperts(cluster.Plan("demo").value().plan()));
  ASSERT_TRUE(pushed.ok()) << pushed.status();
  ASSERT_EQ(cluster.coordinator().Wait(20), 128 + SIGKILL);

  std::map<int, int64_t> switched;
  for (SteadyPoint begin = std::chrono::steady_clock::now();
       switched.size() < 4 && SecondsSince(begin) < 20;) {
    switched = SwitchSteps(cluster, 4, 2);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  ASSERT_EQ(switched.size(), 4u) << "ranks that switched without a coordinator";
  for (const auto& [rank, step] : switched) EXPECT_EQ(step, switched[0]) << "rank " << rank;

  // Nobody needs it to finish; a new one learns what happened.
  cluster.StartCoordinator();
  ASSERT_TRUE(cluster.WaitForJob("demo", 120, IsFinal));
  EXPECT_EQ(cluster.Job("demo")->state(), v1::JOB_STATE_SUCCEEDED) << cluster.Job("demo")->reason();
  v1::PlanStatus plan = cluster.Plan("demo", 2)->status();
  EXPECT_EQ(plan.state(), v1::PLAN_STATE_ACTIVE);
  EXPECT_EQ(plan.switch_step(), switched[0]);
}

TEST(CoordinatorStop, SigtermEndsItCleanlyUnderLoadAndWorkersComeBack) {
  Cluster cluster;
  cluster.StartCoordinator();
  cluster.StartWorkers(2);
  ASSERT_TRUE(cluster.Submit(SmallJob("demo", 2, 400)).ok());
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, AtStep(5)));
  // A watcher is ended with words, not with a broken connection.
  v1::WatchJobRequest request;
  request.set_name("demo");
  auto context = Cluster::Within(60);
  auto watch = cluster.control().WatchJob(context.get(), request);
  v1::JobEvent event;
  ASSERT_TRUE(watch->Read(&event));
  EXPECT_TRUE(event.has_state());
  SteadyPoint begin = std::chrono::steady_clock::now();
  cluster.coordinator().Signal(SIGTERM);
  while (watch->Read(&event)) {
  }
  grpc::Status ended = watch->Finish();
  EXPECT_EQ(ended.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ended.error_message(), "the coordinator is stopping");
  EXPECT_EQ(cluster.coordinator().Wait(15), 0);
  std::printf("SIGTERM to exit: %.2f s\n", SecondsSince(begin));
  cluster.StartCoordinator();
  ASSERT_TRUE(cluster.WaitForWorkers(2, 15));
  ASSERT_TRUE(cluster.WaitForJob("demo", 120, IsFinal));
  EXPECT_EQ(cluster.Job("demo")->state(), v1::JOB_STATE_SUCCEEDED) << cluster.Job("demo")->reason();
}

}  // namespace
}  // namespace ballast
