// Workers that die, leave, or should never have come; input that cannot work. Each ends with a reason.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "ctl/certs.h"
#include "plan/contiguous.h"
#include "protocol/checkpoint.h"
#include "protocol/version.h"
#include "tests/e2e/cluster.h"
#include "tests/e2e/plan_edits.h"
#include "worker/daemon/rank_memory.h"

namespace ballast {
namespace {

auto AtStep(int64_t step) {
  return [step](const v1::JobStatus& job) { return job.step() >= step; };
}

// Runs a job that may not recover on four workers, does `harm` at step 5, and returns how the job ended. That
// should take no more than `figure_s`, which is printed beside what it took; it fails the test at three times
// the figure.
v1::JobStatus FailAfter(Cluster& cluster, const char* what, double figure_s,
                        const std::function<void()>& harm) {
  cluster.StartCoordinator();
  cluster.StartWorkers(4);
  JobConfig config = SmallJob("demo", 4, 100000);
  config.recovery.max_recoveries = 0;
  EXPECT_TRUE(cluster.Submit(config).ok());
  EXPECT_TRUE(cluster.WaitForJob("demo", 60, AtStep(5)));
  auto begin = std::chrono::steady_clock::now();
  harm();
  EXPECT_TRUE(cluster.WaitForJob("demo", 3 * figure_s, IsFinal));
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  v1::JobStatus job = cluster.Job("demo").value();
  std::printf("%s: job ended after %.2f s (at most %g s): %s\n", what, seconds, figure_s,
              job.reason().c_str());
  EXPECT_EQ(job.state(), v1::JOB_STATE_FAILED);
  return job;
}

TEST(WorkerFailure, KilledTheJobFailsAtOnceAndTheOthersAreFree) {
  Cluster cluster;
  v1::JobStatus job = FailAfter(cluster, "kill -9 of w2", 1, [&] { cluster.worker(2).Kill(); });
  EXPECT_TRUE(absl::StrContains(job.reason(), "rank 2") || absl::StrContains(job.reason(), "w2"))
      << job.reason();
  // A new process of that name takes its place.
  cluster.StartWorker(2);
  ASSERT_TRUE(cluster.WaitForWorkers(4, 15));
  ASSERT_TRUE(cluster.Submit(SmallJob("again", 4, 3)).ok());
  EXPECT_TRUE(cluster.WaitForJob("again", 60, IsFinal));
  EXPECT_EQ(cluster.Job("again")->state(), v1::JOB_STATE_SUCCEEDED) << cluster.Job("again")->reason();
}

TEST(WorkerFailure, AFrozenWorkerIsLostAfterASecondOfSilence) {
  Cluster cluster;
  v1::JobStatus job = FailAfter(cluster, "SIGSTOP of w1", 1.5, [&] { cluster.worker(1).Signal(SIGSTOP); });
  EXPECT_TRUE(absl::StrContains(job.reason(), "rank 1")) << job.reason();
  cluster.worker(1).Signal(SIGCONT);
}

TEST(WorkerFailure, StoppedItSaysSoAndExitsWithZero) {
  Cluster cluster;
  v1::JobStatus job = FailAfter(cluster, "SIGTERM of w3", 2, [&] { cluster.worker(3).Signal(SIGTERM); });
  EXPECT_TRUE(absl::StrContains(job.reason(), "worker w3 was stopped")) << job.reason();
  EXPECT_EQ(cluster.worker(3).Wait(10), 0);
  EXPECT_TRUE(cluster.WaitForWorkers(3, 10));
}

// Kills a member of the job when it trains in `generation`, and starts that worker again. A third worker
// takes its place meanwhile.
void LoseAMember(Cluster& cluster, int64_t generation) {
  ASSERT_TRUE(cluster.WaitForWorkers(3, 20));
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, [&](const v1::JobStatus& job) {
    return job.generation() == generation && job.state() == v1::JOB_STATE_RUNNING;
  }));
  const int64_t step = cluster.Job("demo")->step();
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, AtStep(step + 3)));
  const std::string name = cluster.Job("demo")->workers(1);
  ASSERT_EQ(name.size(), 2u) << name;
  cluster.worker(name[1] - '0').Kill();
  ASSERT_TRUE(cluster.WaitForJob(
      "demo", 30, [&](const v1::JobStatus& job) { return job.generation() > generation || IsFinal(job); }));
  cluster.StartWorker(name[1] - '0');
}

TEST(WorkerFailure, LostAgainAndAgainWithoutProgressTheJobFailsAndSaysSo) {
  Cluster cluster;
  cluster.StartCoordinator();
  cluster.StartWorkers(3);
  JobConfig config = SmallJob("demo", 2, 1'000'000);
  config.placement.ranks_min = 2;
  config.checkpoint.path = cluster.dir() / "checkpoints";  // on request
  config.recovery.max_recoveries = 2;
  ASSERT_TRUE(cluster.Submit(config).ok());
  ASSERT_NO_FATAL_FAILURE(LoseAMember(cluster, 1));

  // This is progress: the first loss counts no more.
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, [](const v1::JobStatus& job) {
    return job.generation() == 2 && job.state() == v1::JOB_STATE_RUNNING;
  }));
  v1::CheckpointJobRequest request;
  v1::CheckpointJobResponse response;
  request.set_name("demo");
  ASSERT_TRUE(cluster.control().CheckpointJob(Cluster::Within(10).get(), request, &response).ok());
  ASSERT_TRUE(
      cluster.WaitForJob("demo", 60, [](const v1::JobStatus& job) { return job.checkpoint_step() > 0; }));
  const int64_t from = cluster.Job("demo")->checkpoint_step();

  ASSERT_NO_FATAL_FAILURE(LoseAMember(cluster, 2));
  EXPECT_EQ(cluster.Job("demo")->generation(), 3);
  ASSERT_NO_FATAL_FAILURE(LoseAMember(cluster, 3));
  EXPECT_EQ(cluster.Job("demo")->generation(), 4);
  ASSERT_NO_FATAL_FAILURE(LoseAMember(cluster, 4));
  const v1::JobStatus job = cluster.Job("demo").value();
  EXPECT_EQ(job.state(), v1::JOB_STATE_FAILED);
  EXPECT_EQ(job.generation(), 4) << "it is not tried again";
  std::printf("%s\n", job.reason().c_str());
  EXPECT_TRUE(absl::StrContains(job.reason(),
                                absl::StrCat("; it has recovered 2 times from step ", from,
                                             " in the last 600 s (recovery.max_recoveries): generation 2: ")))
      << job.reason();
  EXPECT_TRUE(absl::StrContains(job.reason(), "; generation 3: ")) << job.reason();
  EXPECT_FALSE(absl::StrContains(job.reason(), "generation 1: ")) << job.reason();
  // Its workers are free for other work, its checkpoint stays.
  ASSERT_TRUE(cluster.WaitForWorkers(3, 20));
  ASSERT_TRUE(cluster.Submit(SmallJob("again", 3, 3)).ok());
  EXPECT_TRUE(cluster.WaitForJob("again", 60, IsFinal));
  EXPECT_EQ(cluster.Job("again")->state(), v1::JOB_STATE_SUCCEEDED) << cluster.Job("again")->reason();
  EXPECT_TRUE(std::filesystem::exists(cluster.dir() / absl::StrCat("checkpoints/demo/",
                                                                   CheckpointName(Step(from), Generation(2)),
                                                                   "/", kManifestFile)));
}

TEST(JobLifecycle, AJobWaitsForWorkersAndCanBeStoppedAtAStep) {
  Cluster cluster;
  cluster.StartCoordinator();
  ASSERT_TRUE(cluster.Submit(SmallJob("demo", 2, 100000)).ok());
  EXPECT_EQ(cluster.Job("demo")->state(), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(cluster.Submit(SmallJob("demo", 2, 10)).status().code(), absl::StatusCode::kAlreadyExists);
  cluster.StartWorkers(2);
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, AtStep(3)));
  v1::StopJobRequest request;
  v1::StopJobResponse response;
  request.set_name("demo");
  grpc::Status stopped = cluster.control().StopJob(Cluster::Within(10).get(), request, &response);
  ASSERT_TRUE(stopped.ok()) << stopped.error_message();
  ASSERT_TRUE(cluster.WaitForJob("demo", 30, IsFinal));
  v1::JobStatus job = cluster.Job("demo").value();
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED) << job.reason();
  EXPECT_TRUE(absl::StrContains(job.reason(), "operator/me")) << job.reason();
  EXPECT_LT(job.step(), 100000);
}

TEST(BadInput, WhatCannotRunIsRefusedWithFigures) {
  Cluster cluster;
  cluster.StartCoordinator();
  JobConfig narrow = SmallJob("narrow", 2, 10);
  narrow.placement.slots_per_rank = 3;  // 6 slots for 8 experts
  absl::Status refused = cluster.Submit(narrow).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument) << refused;
  EXPECT_TRUE(absl::StrContains(refused.message(), "8")) << refused;
  EXPECT_EQ(cluster.Job("narrow").status().code(), absl::StatusCode::kNotFound) << "nothing changed";
  EXPECT_EQ(cluster.Push("nobody", {}).status().code(), absl::StatusCode::kNotFound);
}

TEST(BadInput, PlansThatMakeNoSenseChangeNothing) {
  Cluster cluster;
  cluster.StartCoordinator();
  cluster.StartWorkers(2);
  JobConfig job = SmallJob("demo", 2, 100000);
  job.placement.slots_per_rank = 5;  // one more than the four experts of a rank
  ASSERT_TRUE(cluster.Submit(job).ok());
  ASSERT_TRUE(cluster.WaitForPlan("demo", 1, v1::PLAN_STATE_ACTIVE, 60));
  v1::Plan active = cluster.Plan("demo").value().plan();
  constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;
  struct Case {
    const char* what;
    absl::StatusCode code;
    const char* words;
    std::function<void(v1::PlanFile&)> spoil;  // of a good file, where rank 0 hosts experts 4..7
  };
  const Case cases[] = {
      {"unknown expert", kInvalid, "layers[0].hosts[0][4]: found expert 99, allowed 0..7",
       [](v1::PlanFile& file) { file.mutable_layers(0)->mutable_hosts(0)->add_experts(99); }},
      {"too many slots", kInvalid, "layers[0].hosts[0]: found 6 experts, allowed at most 5",
       [](v1::PlanFile& file) {
         for (int expert : {0, 1}) file.mutable_layers(0)->mutable_hosts(0)->add_experts(expert);
       }},
      {"unknown rank", kInvalid, "layers[0].hosts: found 3 lists, allowed 2",
       [](v1::PlanFile& file) { file.mutable_layers(0)->add_hosts(); }},
      {"unknown layer", kInvalid, "layers[0].layer: found 7, allowed 0..1",
       [](v1::PlanFile& file) { file.mutable_layers(0)->set_layer(7); }},
      {"no slot", kInvalid, "layers[0].hosts: found no slot for expert 4",
       [](v1::PlanFile& file) { file.mutable_layers(0)->mutable_hosts(0)->clear_experts(); }},
      {"unknown schedule", kInvalid, "layers[0].schedule.all_to_all: found magic, allowed direct",
       [](v1::PlanFile& file) { file.mutable_layers(0)->mutable_schedule()->set_all_to_all("magic"); }},
      {"unknown home rank", kInvalid, "homes[0].rank: found 9, allowed 0..1",
       [](v1::PlanFile& file) {
         v1::PlanFile::Home* home = file.add_homes();
         home->set_block(0);
         home->set_rank(9);
       }},
      {"wrong base", absl::StatusCode::kFailedPrecondition, "base_version: found 12, the active plan is 1",
       [](v1::PlanFile& file) { file.set_base_version(12); }},
  };
  for (const Case& bad : cases) {
    v1::PlanFile file = RotateExperts(active);
    bad.spoil(file);
    for (bool dry_run : {true, false}) {
      absl::Status refused = cluster.Push("demo", file, dry_run).status();
      EXPECT_EQ(refused.code(), bad.code) << bad.what << ": " << refused;
      EXPECT_TRUE(absl::StrContains(refused.message(), bad.words)) << bad.what << ": " << refused;
    }
  }
  v1::ListPlansRequest request;
  v1::ListPlansResponse plans;
  request.set_job("demo");
  ASSERT_TRUE(cluster.control().ListPlans(Cluster::Within(10).get(), request, &plans).ok());
  EXPECT_EQ(plans.plans_size(), 1) << "nothing changed";
  // A dry run of a good one compares and changes nothing either.
  absl::StatusOr<v1::PushPlanResponse> dry = cluster.Push("demo", RotateExperts(active), true);
  ASSERT_TRUE(dry.ok()) << dry.status();
  EXPECT_GT(dry->plan().slot_writes(), 0);
  EXPECT_EQ(dry->plan().version(), 0);
}

// Each worker may use a tenth more memory for weights and states than the first plan takes: a plan that moves
// slots alone fits, one that moves many homes to rank 1 is refused there, and the operator sees why.
TEST(BadInput, APlanThatDoesNotFitIsRefusedByTheWorkerWithItsReason) {
  Cluster cluster;
  cluster.StartCoordinator();
  JobConfig config = SmallJob("demo", 2, 100'000);
  const ParameterLayout layout = ParameterLayout::Make(config.model, config.placement.block_elements).value();
  config.placement.home_elements_per_rank = layout.total_elements();
  const PlanBody first = ContiguousPlan(config, layout, 2).value();
  size_t allowed = 0;
  for (int r = 0; r < 2; ++r) {
    const RankMemory use = RankMemoryOf(config, layout, {&first}, Rank(r), 1, CpuDevice());
    allowed = std::max(allowed, use.on_device() + use.in_host() + use.state.total() / 10);
  }
  cluster.StartWorkers(2, {"--memory-max", absl::StrCat(allowed)});
  ASSERT_TRUE(cluster.Submit(config).ok());
  ASSERT_TRUE(cluster.WaitForPlan("demo", 1, v1::PLAN_STATE_ACTIVE, 60));
  v1::Plan active = cluster.Plan("demo").value().plan();

  v1::PlanFile file;
  file.set_base_version(active.version());
  MoveHomes(active, 0, 1, active.body().homes_size(), file);
  ASSERT_TRUE(cluster.Push("demo", file).ok());
  ASSERT_TRUE(cluster.WaitForPlan("demo", 2, v1::PLAN_STATE_ABORTED, 60));
  v1::ListPlansRequest request;
  v1::ListPlansResponse plans;
  request.set_job("demo");
  ASSERT_TRUE(cluster.control().ListPlans(Cluster::Within(10).get(), request, &plans).ok());
  int seen = 0;
  for (const v1::PlanStatus& plan : plans.plans()) {
    if (plan.version() != 2) continue;
    ++seen;
    std::printf("%s\n", plan.outcome().c_str());
    EXPECT_TRUE(absl::StrContains(plan.outcome(), " refused it: memory: the switch to the plan needs "))
        << plan.outcome();
    EXPECT_TRUE(absl::StrContains(plan.outcome(), absl::StrCat("allowed are ", allowed))) << plan.outcome();
  }
  EXPECT_EQ(seen, 1);

  // The refusal changed nothing: a smaller plan is taken.
  v1::PlanFile slots = RotateExperts(active);
  ASSERT_TRUE(cluster.Push("demo", slots).ok());
  EXPECT_TRUE(cluster.WaitForPlan("demo", 3, v1::PLAN_STATE_ACTIVE, 60));
}

TEST(BadInput, MissingDataFailsTheJobAndNamesTheFile) {
  Cluster cluster;
  cluster.StartCoordinator();
  cluster.StartWorkers(2);
  std::filesystem::remove(cluster.data_prefix() + ".idx");
  ASSERT_TRUE(cluster.Submit(SmallJob("demo", 2, 10)).ok());
  ASSERT_TRUE(cluster.WaitForJob("demo", 30, IsFinal));
  v1::JobStatus job = cluster.Job("demo").value();
  EXPECT_EQ(job.state(), v1::JOB_STATE_FAILED);
  EXPECT_TRUE(absl::StrContains(job.reason(), cluster.data_prefix() + ".idx")) << job.reason();
}

TEST(SecondCoordinator, OnTheSameDirectoryEndsWithAClearError) {
  Cluster cluster;
  cluster.StartCoordinator();
  Process second({cluster.binary("ballast-coordinator"), "--listen", "127.0.0.1:0", "--data-dir",
                  cluster.dir() / "state", "--ca", cluster.Certificate("ca.pem"), "--cert",
                  cluster.Certificate("coordinator.pem"), "--key", cluster.Certificate("coordinator.key")},
                 cluster.LogPath("second"));
  EXPECT_EQ(second.Wait(20), 4);
  EXPECT_TRUE(absl::StrContains(second.Output(), absl::StrCat("is used by another coordinator (process ",
                                                              cluster.coordinator().pid(), ")")))
      << second.Output();
  EXPECT_EQ(cluster.Job("none").status().code(), absl::StatusCode::kNotFound) << "the first still answers";
}

// A worker that must not come up: its exit code, and a part of what it says.
void ExpectRefused(Cluster& cluster, const std::vector<std::string>& command, int code,
                   const std::string& words) {
  Process worker(command, cluster.LogPath("refused"));
  std::optional<int> ended = worker.Wait(30);
  ASSERT_TRUE(ended.has_value()) << "still running: " << worker.Output();
  EXPECT_EQ(*ended, code) << worker.Output();
  EXPECT_TRUE(absl::StrContains(worker.Output(), words)) << worker.Output();
  // Refused by a coordinator that is there, not for want of one.
  ASSERT_TRUE(cluster.coordinator().running()) << cluster.coordinator().Output();
  v1::ListWorkersResponse workers;
  grpc::Status listed = cluster.control().ListWorkers(Cluster::Within(10).get(), {}, &workers);
  ASSERT_TRUE(listed.ok()) << listed.error_message();
  EXPECT_EQ(workers.workers_size(), 0) << workers.ShortDebugString();
  std::filesystem::remove(cluster.LogPath("refused"));
}

std::vector<std::string> Replace(std::vector<std::string> command, const std::string& option,
                                 const std::string& value) {
  for (size_t i = 0; i + 1 < command.size(); ++i) {
    if (command[i] == option) command[i + 1] = value;
  }
  return command;
}

TEST(WrongWorker, CertificatesOfSomebodyElse) {
  Cluster cluster;
  cluster.StartCoordinator();
  std::vector<std::string> good = cluster.WorkerCommand(0);

  std::vector<std::string> person = Replace(Replace(good, "--cert", cluster.Certificate("operator-me.pem")),
                                            "--key", cluster.Certificate("operator-me.key"));
  ExpectRefused(cluster, person, 2, "the certificate is of operator/me; a worker needs one of worker/<name>");

  ExpectRefused(cluster, Replace(good, "--key", cluster.Certificate("worker-w1.key")), 2,
                "is not the key of");
  ExpectRefused(cluster, Replace(good, "--ca", cluster.dir() / "none.pem"), 2, "No such file");

  std::vector<std::string> renamed = good;
  renamed.insert(renamed.end(), {"--name", "w7"});
  ExpectRefused(cluster, renamed, 2, "found \\\"w7\\\", the certificate is of worker/w0");

  // Signed by another authority: it does not trust the coordinator, then the coordinator does not trust it.
  DevCertificates other;
  other.folder = cluster.dir() / "other";
  other.workers = {"w0"};
  ASSERT_TRUE(WriteDevCertificates(other).ok());
  ExpectRefused(cluster, Replace(good, "--ca", cluster.dir() / "other/ca.pem"), 6,
                "--cert may not come from its authority");
  std::vector<std::string> stranger = Replace(Replace(good, "--cert", cluster.dir() / "other/worker-w0.pem"),
                                              "--key", cluster.dir() / "other/worker-w0.key");
  ExpectRefused(cluster, stranger, 6, "--cert may not come from its authority");

  std::vector<std::string> plain = {good[0], good[1], good[2], "--name", "w0", "--insecure"};
  ExpectRefused(cluster, plain, 6, "one side uses --insecure");
}

TEST(WrongWorker, AnotherProtocolVersionIsRefusedWithBothNumbers) {
  Cluster cluster;
  cluster.StartCoordinator();
  std::vector<std::string> command = cluster.WorkerCommand(0);
  command.insert(command.end(), {"--protocol-version", "99"});
  Process worker(command, cluster.LogPath("w0"));
  EXPECT_EQ(worker.Wait(20), 4);
  EXPECT_TRUE(absl::StrContains(
      worker.Output(),
      absl::StrCat("refused this worker: protocol version: worker w0 speaks 99, this coordinator speaks ",
                   kProtocolVersion)))
      << worker.Output();
}

}  // namespace
}  // namespace ballast
