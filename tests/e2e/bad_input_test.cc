// Directories and stores that real daemons cannot use: each a clear error with the path, and nothing lost.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "coordinator/sqlite.h"
#include "tests/e2e/cluster.h"
#include "tests/e2e/own_mounts.h"

namespace ballast {
namespace {

namespace fs = std::filesystem;

constexpr uid_t kNobody = 65534;

JobConfig JobWith(const std::string& path, int64_t steps) {
  JobConfig job = SmallJob("demo", 2, steps);
  job.checkpoint.path = path;
  job.checkpoint.every_steps = 10;
  job.checkpoint.keep_last = 2;
  return job;
}

std::vector<v1::CheckpointStatus> Complete(Cluster& cluster) {
  v1::ListCheckpointsRequest request;
  v1::ListCheckpointsResponse response;
  request.set_job("demo");
  EXPECT_TRUE(cluster.control().ListCheckpoints(Cluster::Within(10).get(), request, &response).ok());
  std::vector<v1::CheckpointStatus> complete(response.checkpoints().begin(), response.checkpoints().end());
  std::erase_if(complete, [](const v1::CheckpointStatus& checkpoint) {
    return checkpoint.state() != v1::CHECKPOINT_STATE_PUBLISHED;
  });
  return complete;
}

// Texts of the job's alarms.
std::vector<std::string> Alarms(Cluster& cluster) {
  v1::ListEventsRequest request;
  v1::ListEventsResponse response;
  request.set_job("demo");
  EXPECT_TRUE(cluster.control().ListEvents(Cluster::Within(10).get(), request, &response).ok());
  std::vector<std::string> alarms;
  for (const v1::LoggedEvent& event : response.events()) {
    if (absl::StrContains(event.text(), "failed: worker")) alarms.push_back(event.text());
  }
  return alarms;
}

// Root may write everywhere, so these daemons run as somebody else.
class OtherUser : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "only root can run a worker as another user";
    fs::permissions(cluster_.dir().path(), fs::perms(0755));
    for (const auto& entry : fs::directory_iterator(cluster_.dir() / "certs")) {
      ASSERT_EQ(chown(entry.path().c_str(), kNobody, kNobody), 0);
    }
    fs::permissions(cluster_.dir() / "certs", fs::perms(0755));
    fs::create_directory(path_);
    cluster_.StartCoordinator();
    cluster_.SetPrefix({"/usr/bin/setpriv", absl::StrCat("--reuid=", kNobody),
                        absl::StrCat("--regid=", kNobody), "--clear-groups", "--inh-caps=-all"});
    cluster_.StartWorker(0, {"--ranks", "2"});
    ASSERT_TRUE(cluster_.WaitForWorkers(1, 20));
  }
  Cluster cluster_;
  const std::string path_ = cluster_.dir() / "checkpoints";
};

TEST_F(OtherUser, SomebodyElsesDirectoryEndsTheJobAtItsStart) {
  ASSERT_TRUE(cluster_.Submit(JobWith(path_, 1000)).ok());
  ASSERT_TRUE(cluster_.WaitForJob("demo", 60, IsFinal));
  const v1::JobStatus job = cluster_.Job("demo").value();
  EXPECT_EQ(job.state(), v1::JOB_STATE_FAILED);
  EXPECT_EQ(job.step(), 0);
  EXPECT_TRUE(absl::StrContains(job.reason(), absl::StrCat("checkpoint.path: worker w0: ", path_, "/demo")))
      << job.reason();
  EXPECT_TRUE(absl::StrContains(job.reason(), "Permission denied")) << job.reason();
  EXPECT_TRUE(fs::is_empty(path_));
  EXPECT_TRUE(cluster_.worker(0).running()) << "and takes other jobs";
}

TEST_F(OtherUser, ADirectoryThatIsTakenAwayIsAnAlarmAndWhatIsCompleteStays) {
  ASSERT_EQ(chown(path_.c_str(), kNobody, kNobody), 0);
  ASSERT_TRUE(cluster_.Submit(JobWith(path_, 100000)).ok());
  ASSERT_TRUE(
      cluster_.WaitForJob("demo", 60, [](const v1::JobStatus& job) { return job.checkpoint_step() >= 20; }));
  const std::string folder = path_ + "/demo";
  ASSERT_EQ(chown(folder.c_str(), 0, 0), 0);
  fs::permissions(folder, fs::perms(0555));
  std::vector<std::string> alarms;
  const int64_t from = cluster_.Job("demo")->step();
  ASSERT_TRUE(cluster_.WaitForJob("demo", 60, [&](const v1::JobStatus& job) {
    alarms = Alarms(cluster_);
    return IsFinal(job) || (job.step() > from + 100 && alarms.size() >= 3);
  }));
  EXPECT_EQ(cluster_.Job("demo")->state(), v1::JOB_STATE_RUNNING) << cluster_.Job("demo")->reason();
  std::map<std::string, int> by_checkpoint;
  for (const std::string& alarm : alarms) {
    EXPECT_TRUE(absl::StrContains(alarm, folder + "/step-")) << alarm;
    EXPECT_TRUE(absl::StrContains(alarm, "Permission denied")) << alarm;
    EXPECT_EQ(++by_checkpoint[alarm.substr(0, alarm.find(" failed"))], 1) << "two alarms: " << alarm;
  }
  const std::vector<v1::CheckpointStatus> complete = Complete(cluster_);
  ASSERT_FALSE(complete.empty());
  for (const v1::CheckpointStatus& checkpoint : complete) {
    EXPECT_TRUE(fs::exists(checkpoint.directory() + "/manifest.json")) << checkpoint.directory();
  }

  // Given back, checkpoints go on.
  fs::permissions(folder, fs::perms(0755));
  ASSERT_EQ(chown(folder.c_str(), kNobody, kNobody), 0);
  const int64_t newest = complete.back().step();
  EXPECT_TRUE(cluster_.WaitForJob(
      "demo", 60, [&](const v1::JobStatus& job) { return IsFinal(job) || job.checkpoint_step() > newest; }));
  EXPECT_EQ(cluster_.Job("demo")->state(), v1::JOB_STATE_RUNNING);
}

TEST(BadDirectory, AReadOnlyOneEndsTheJobAtItsStart) {
  Cluster cluster;
  const std::string path = cluster.dir() / "checkpoints";
  fs::create_directory(path);
  const std::vector<std::string> read_only =
      OwnMounts(cluster, "mount --bind " + path + " " + path + " && mount -o remount,bind,ro " + path);
  if (read_only.empty()) GTEST_SKIP() << "mount namespaces cannot be made here (needs root)";
  cluster.StartCoordinator();
  cluster.SetPrefix(read_only);
  cluster.StartWorker(0, {"--ranks", "2"});
  ASSERT_TRUE(cluster.WaitForWorkers(1, 20));
  ASSERT_TRUE(cluster.Submit(JobWith(path, 1000)).ok());
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, IsFinal));
  const v1::JobStatus job = cluster.Job("demo").value();
  EXPECT_EQ(job.state(), v1::JOB_STATE_FAILED);
  EXPECT_TRUE(absl::StrContains(job.reason(), absl::StrCat("checkpoint.path: worker w0: ", path, "/demo")))
      << job.reason();
  EXPECT_TRUE(absl::StrContains(job.reason(), "Read-only file system")) << job.reason();
}

// What a coordinator says and exits with on the store in the cluster's directory.
int StartOnStore(const Cluster& cluster, const std::string& log, std::string& said) {
  Process process({cluster.binary("ballast-coordinator"), "--listen", "127.0.0.1:0", "--data-dir",
                   cluster.dir() / "state", "--insecure"},
                  cluster.dir() / log);
  const int code = process.Wait(20).value_or(-1);
  said = process.Output();
  return code;
}

TEST(BadStore, OfANewerVersionIsLeftAsItIs) {
  Cluster cluster;
  cluster.StartCoordinator();
  cluster.StartWorkers(2);
  ASSERT_TRUE(cluster.Submit(SmallJob("demo", 2, 20)).ok());
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, IsFinal));
  cluster.coordinator().Signal(SIGTERM);
  ASSERT_EQ(cluster.coordinator().Wait(20).value_or(-1), 0);
  const std::string file = cluster.dir() / "state/ballast.db";
  auto set_version = [&](const std::string& version) {
    ASSERT_TRUE(SqliteDatabase::Open(file)->Execute("PRAGMA user_version=" + version).ok());
  };
  std::string known;
  {
    auto database = SqliteDatabase::Open(file);
    auto select = database->Prepare("PRAGMA user_version");
    ASSERT_TRUE(*select->Step());
    known = absl::StrCat(select->Integer(0));
  }
  set_version("1000");
  const std::string before = ReadFile(file);
  std::string said;
  EXPECT_EQ(StartOnStore(cluster, "newer", said), 4) << said;
  EXPECT_TRUE(absl::StrContains(said, absl::StrCat(file, ": schema version 1000, this program knows ", known,
                                                   "; start the newer program again")))
      << said;
  EXPECT_EQ(ReadFile(file), before) << "nothing was written";
  set_version(known);
  cluster.StartCoordinator();
  EXPECT_EQ(cluster.Job("demo")->state(), v1::JOB_STATE_SUCCEEDED) << "nothing was lost";
}

TEST(BadStore, DamagedIsNamedAndLeftAsItIs) {
  Cluster cluster;
  fs::create_directory(cluster.dir() / "state");
  const std::string file = cluster.dir() / "state/ballast.db";
  const std::string noise(8192, 'x');
  Process({"/bin/sh", "-c", "head -c 8192 /dev/zero | tr '\\0' x > " + file}, cluster.dir() / "noise.log")
      .Wait(10);
  ASSERT_EQ(ReadFile(file), noise);
  std::string said;
  const int code = StartOnStore(cluster, "damaged", said);
  EXPECT_NE(code, 0);
  EXPECT_TRUE(absl::StrContains(said, file)) << said;
  EXPECT_TRUE(absl::StrContains(said, "not a database")) << said;
  EXPECT_EQ(ReadFile(file), noise);
}

}  // namespace
}  // namespace ballast
