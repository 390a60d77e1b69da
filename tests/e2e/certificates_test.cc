// Certificates that are replaced on disk while everything runs.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <filesystem>

#include "absl/strings/match.h"
#include "ctl/certs.h"
#include "tests/e2e/cluster.h"
#include "tests/e2e/plan_edits.h"

namespace ballast {
namespace {

// Every file of `to` that `from` has too, each replaced at one moment, as a certificate manager does.
void ReplaceFiles(const std::filesystem::path& from, const std::filesystem::path& to) {
  for (const auto& entry : std::filesystem::directory_iterator(from)) {
    const std::filesystem::path file = to / entry.path().filename();
    if (!std::filesystem::exists(file)) continue;
    std::filesystem::path partial = file;
    partial += ".partial";
    std::filesystem::copy_file(entry.path(), partial, std::filesystem::copy_options::overwrite_existing);
    std::filesystem::rename(partial, file);
  }
}

// All certificates, the authority's too, are replaced: after the coordinator's restart nobody can be attached
// with an old one.
TEST(Certificates, RunningWorkersAttachWithTheReplacedOnesAfterACoordinatorRestart) {
  Cluster cluster;
  cluster.StartCoordinator();
  cluster.StartWorkers(2);
  ASSERT_TRUE(cluster.Submit(SmallJob("demo", 2, 100'000)).ok());
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, [](const v1::JobStatus& job) { return job.step() >= 10; }));
  const std::vector<pid_t> pids = {cluster.worker(0).pid(), cluster.worker(1).pid()};

  const std::filesystem::path files = cluster.dir() / "certs", old = cluster.dir() / "old";
  std::filesystem::copy(files, old);
  DevCertificates renewed;
  renewed.folder = cluster.dir() / "renewed";
  renewed.operators = {"me"};
  for (int i = 0; i < 3; ++i) renewed.workers.push_back("w" + std::to_string(i));
  ASSERT_TRUE(WriteDevCertificates(renewed).ok());
  ReplaceFiles(renewed.folder, files);

  cluster.coordinator().Kill();
  const auto begin = std::chrono::steady_clock::now();
  cluster.StartCoordinator();
  ASSERT_TRUE(cluster.WaitForWorkers(2, 30));
  std::printf("attached %.2f s after the coordinator's start\n",
              std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(cluster.worker(i).running());
    EXPECT_EQ(cluster.worker(i).pid(), pids[static_cast<size_t>(i)]) << "the process was not restarted";
  }
  // The job went on, and a plan can be pushed.
  ASSERT_TRUE(cluster.WaitForJob("demo", 30, [](const v1::JobStatus& job) {
    return job.state() == v1::JOB_STATE_RUNNING && job.recent_steps_size() > 0;
  }));
  absl::StatusOr<v1::PushPlanResponse> pushed =
      cluster.Push("demo", RotateExperts(cluster.Plan("demo").value().plan()));
  ASSERT_TRUE(pushed.ok()) << pushed.status();
  EXPECT_TRUE(cluster.WaitForPlan("demo", pushed->plan().version(), v1::PLAN_STATE_ACTIVE, 30));

  // An old certificate is worth nothing any more, even to one who knows the new authority.
  std::filesystem::copy_file(old / "worker-w2.pem", files / "worker-w2.pem",
                             std::filesystem::copy_options::overwrite_existing);
  std::filesystem::copy_file(old / "worker-w2.key", files / "worker-w2.key",
                             std::filesystem::copy_options::overwrite_existing);
  cluster.StartWorker(2);
  EXPECT_EQ(cluster.worker(2).Wait(30), 6) << cluster.worker(2).Output();
}

}  // namespace
}  // namespace ballast
