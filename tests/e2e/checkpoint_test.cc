// Checkpoints of real daemons: asked for, kept, resumed in another cluster, refused when they are not what
// they should be.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/e2e/ballastctl.h"
#include "tests/e2e/cluster.h"
#include "tests/e2e/own_mounts.h"
#include "tests/e2e/reference_run.h"
#include "wire/job_reader.h"
#include "wire/message_json.h"

namespace ballast {
namespace {

namespace fs = std::filesystem;

// A job that lasts longer than any test, so that it is stopped somewhere.
constexpr int64_t kSteps = 100000;

JobConfig JobIn(const Cluster& cluster, const std::string& path, int ranks, int64_t steps = kSteps) {
  JobConfig job = SmallJob("demo", ranks, steps);
  for (DataSource& source : job.data.sources) source.prefix = cluster.data_prefix();
  job.checkpoint.path = path;
  return job;
}

auto AtStep(int64_t step) {
  return [step](const v1::JobStatus& job) { return job.step() >= step || IsFinal(job); };
}

std::string WriteJob(const Cluster& cluster, const JobConfig& job) {
  const std::string file = cluster.dir() / "job.yaml";
  std::ofstream(file) << YamlText(ToJson(SpecFromJob(job)));
  return file;
}

std::map<int64_t, double> Losses(const v1::JobStatus& job) {
  std::map<int64_t, double> losses;
  for (const v1::StepStatus& step : job.recent_steps()) losses[step.step()] = step.loss();
  return losses;
}

std::vector<std::string> Directories(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// A job of four ranks that was checkpointed on request, trained on and was stopped.
class CheckpointedRun {
 public:
  CheckpointedRun() {
    Cluster cluster;
    cluster.StartCoordinator();
    cluster.StartWorkers(4);
    const JobConfig job = JobIn(cluster, shared_ / "checkpoints", 4);
    EXPECT_TRUE(cluster.Submit(job).ok());
    EXPECT_TRUE(cluster.WaitForJob("demo", 60, AtStep(20)));
    std::string said;
    EXPECT_EQ(Ctl(cluster, {"job", "checkpoint", "demo", "--wait"}, said), 0) << said;
    EXPECT_NE(said.find("checkpoint after step "), std::string::npos) << said;
    EXPECT_EQ(Ctl(cluster, {"job", "stop", "demo", "--wait"}, said), 0) << said;
    stopped_ = cluster.Job("demo")->step();
    EXPECT_EQ(Ctl(cluster, {"job", "checkpoints", "demo"}, said), 0) << said;
    EXPECT_NE(said.find(absl::StrCat("/demo/", "step-")), std::string::npos) << said;
    EXPECT_NE(said.find("PUBLISHED"), std::string::npos) << said;
    EXPECT_EQ(cluster.Job("demo")->checkpoint_step(), stopped_) << "a stop is checkpointed";
    names_ = Directories(folder());
    EXPECT_EQ(names_.size(), 2u) << absl::StrJoin(names_, " ");
    JobConfig plain = job;
    plain.checkpoint = {};
    reference_ = ReferenceLosses(plain, stopped_ + 45);
    if (testing::Test::HasFailure()) cluster.PrintLogs();
  }
  std::string folder() const { return shared_ / "checkpoints/demo"; }
  std::string path() const { return shared_ / "checkpoints"; }
  int64_t stopped() const { return stopped_; }
  const std::vector<std::string>& names() const { return names_; }
  // Loss of step `step` of a run that was never stopped.
  double reference(int64_t step) const { return reference_.at(static_cast<size_t>(step) - 1); }

 private:
  TempDir shared_;
  int64_t stopped_ = 0;
  std::vector<std::string> names_;
  std::vector<double> reference_;
};

TEST(Checkpoint, AStoppedJobGoesOnInAnotherCluster) {
  CheckpointedRun run;
  ASSERT_FALSE(HasFailure());
  for (int ranks : {3, 4}) {
    Cluster cluster;
    cluster.StartCoordinator();
    cluster.StartWorkers(ranks);
    JobConfig job = JobIn(cluster, run.path(), ranks);
    if (ranks == 3) {
      job.placement.slots_per_rank = 4;
      job.placement.block_elements = 1000;
    }
    std::string said;
    // Of four ranks from the older one by name, of three from the folder's newest.
    const std::string from = ranks == 4 ? run.folder() + "/" + run.names()[0] : run.folder();
    ASSERT_EQ(Ctl(cluster, {"job", "submit", "-f", WriteJob(cluster, job), "--resume", from}, said), 0)
        << said;
    ASSERT_TRUE(cluster.WaitForJob("demo", 60, AtStep(run.stopped() + 40)));
    const v1::JobStatus status = cluster.Job("demo").value();
    EXPECT_EQ(status.state(), v1::JOB_STATE_RUNNING) << status.reason();
    const std::map<int64_t, double> losses = Losses(status);
    const int64_t begin = ranks == 4 ? std::stoll(run.names()[0].substr(5)) : run.stopped();
    ASSERT_FALSE(losses.empty());
    EXPECT_EQ(losses.begin()->first, begin + 1) << "no step is left out, none is trained twice";
    double worst = 0;
    for (int64_t step = begin + 1; step <= run.stopped() + 40; ++step) {
      ASSERT_EQ(losses.count(step), 1u) << step;
      if (ranks == 4) {
        EXPECT_EQ(losses.at(step), run.reference(step)) << "bit for bit, step " << step;
      }
      worst = std::max(worst, std::abs(losses.at(step) - run.reference(step)) / run.reference(step));
    }
    std::printf("%d ranks from step %ld: relative difference %g over %zu steps\n", ranks,
                static_cast<long>(begin), worst, losses.size());
    EXPECT_LE(worst, 1e-4);
    ASSERT_EQ(Ctl(cluster, {"job", "stop", "demo", "--wait"}, said), 0) << said;
    EXPECT_GT(cluster.Job("demo")->generation(), 1) << "above those that wrote into the folder";
    if (HasFailure()) cluster.PrintLogs();
  }
  // Nothing of the first run was deleted by the later ones.
  for (const std::string& name : run.names()) EXPECT_TRUE(fs::exists(run.folder() + "/" + name)) << name;

  Cluster cluster;
  cluster.StartCoordinator();
  cluster.StartWorkers(1);
  // A job of the same name that does not resume must not write beside the other's.
  JobConfig job = JobIn(cluster, run.path(), 1);
  job.placement.slots_per_rank = 8;
  ASSERT_TRUE(cluster.Submit(job).ok());
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, IsFinal));
  EXPECT_NE(cluster.Job("demo")->reason().find("was written by another run of a job of this name"),
            std::string::npos)
      << cluster.Job("demo")->reason();

  // What is damaged or of another model is refused, with the file.
  const std::string newest = run.folder() + "/" + run.names()[1];
  std::string said;
  job.name = JobId("other");
  job.model.moe.intermediate_size = 10;
  EXPECT_EQ(Ctl(cluster, {"job", "submit", "-f", WriteJob(cluster, job), "--resume", newest}, said), 2)
      << said;
  EXPECT_NE(said.find(newest + "/state.json: model.intermediate_size: found 9, the job has 10"),
            std::string::npos)
      << said;
  job.model.moe.intermediate_size = 9;
  const std::string damaged = newest + "/optimizer-00001-of-00004.safetensors";
  {
    std::fstream file(damaged, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-5, std::ios::end);
    file.put('\x55');
  }
  ASSERT_EQ(Ctl(cluster, {"job", "submit", "-f", WriteJob(cluster, job), "--resume", newest}, said), 0)
      << said;
  ASSERT_TRUE(cluster.WaitForJob("other", 60, IsFinal));
  EXPECT_NE(cluster.Job("other")->reason().find(damaged + ": found another content than the manifest says"),
            std::string::npos)
      << cluster.Job("other")->reason();
  if (HasFailure()) cluster.PrintLogs();
}

TEST(Checkpoint, TheNewestAreKept) {
  TempDir shared;
  Cluster cluster;
  cluster.StartCoordinator();
  cluster.StartWorkers(2);
  JobConfig job = JobIn(cluster, shared.path(), 2, 60);
  job.checkpoint.every_steps = 10;
  job.checkpoint.keep_last = 2;
  ASSERT_TRUE(cluster.Submit(job).ok());
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, IsFinal));
  const v1::JobStatus status = cluster.Job("demo").value();
  EXPECT_EQ(status.state(), v1::JOB_STATE_SUCCEEDED) << status.reason();
  EXPECT_EQ(status.checkpoint_step(), 60);
  // Deleting goes on behind the job's end.
  for (int i = 0; i < 1000 && Directories(shared / "demo").size() > 2; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  const std::vector<std::string> names = Directories(shared / "demo");
  ASSERT_EQ(names.size(), 2u) << absl::StrJoin(names, " ");
  EXPECT_EQ(names[1], "step-000000060-g1");
  for (const std::string& name : names)
    EXPECT_TRUE(fs::exists(shared / ("demo/" + name + "/manifest.json"))) << name;
  if (HasFailure()) cluster.PrintLogs();
}

TEST(Checkpoint, AWorkerThatSeesAnotherDirectoryEndsTheJobByName) {
  Cluster cluster;
  cluster.StartCoordinator();
  fs::create_directory(cluster.dir() / "here");
  fs::create_directory(cluster.dir() / "there");
  cluster.SetPrefix({"/usr/bin/env", "-C", cluster.dir() / "here"});
  cluster.StartWorker(0);
  cluster.SetPrefix({"/usr/bin/env", "-C", cluster.dir() / "there"});
  cluster.StartWorker(1);
  ASSERT_TRUE(cluster.WaitForWorkers(2, 20));
  ASSERT_TRUE(cluster.Submit(JobIn(cluster, "checkpoints", 2)).ok());
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, IsFinal));
  const std::string reason = cluster.Job("demo")->reason();
  EXPECT_NE(reason.find("checkpoint.path: worker w1: checkpoints/demo/token-g1: open: No such file"),
            std::string::npos)
      << reason;
  EXPECT_NE(reason.find("all workers must see one directory there, as worker w0 of rank 0 does"),
            std::string::npos)
      << reason;
}

// The worker has a small file system of its own in the place of the checkpoints.
TEST(Checkpoint, AFullDiskIsAnAlarmAndWhatIsCompleteStays) {
  Cluster cluster;
  const std::string path = cluster.dir() / "small";
  const std::vector<std::string> small = OwnMounts(cluster, "mount -t tmpfs -o size=1m none " + path);
  if (small.empty()) GTEST_SKIP() << "mount namespaces cannot be made here (needs root)";
  fs::create_directory(path);
  cluster.StartCoordinator();
  cluster.SetPrefix(small);
  cluster.StartWorker(0, {"--ranks", "2"});
  ASSERT_TRUE(cluster.WaitForWorkers(1, 20));
  JobConfig job = JobIn(cluster, path, 2, 400);
  job.checkpoint.every_steps = 5;
  job.checkpoint.keep_last = 1000;
  ASSERT_TRUE(cluster.Submit(job).ok());
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, IsFinal));
  const v1::JobStatus status = cluster.Job("demo").value();
  EXPECT_EQ(status.state(), v1::JOB_STATE_SUCCEEDED) << status.reason();
  EXPECT_EQ(status.step(), 400);

  v1::ListEventsRequest request;
  v1::ListEventsResponse response;
  request.set_job("demo");
  ASSERT_TRUE(cluster.control().ListEvents(Cluster::Within(10).get(), request, &response).ok());
  int alarms = 0;
  std::map<std::string, int> by_checkpoint;
  for (const v1::LoggedEvent& event : response.events()) {
    if (event.text().find("No space left on device; training goes on") == std::string::npos) continue;
    ++alarms;
    EXPECT_EQ(++by_checkpoint[event.text().substr(0, event.text().find(" failed"))], 1)
        << "both ranks failed, one alarm is enough: " << event.text();
  }
  EXPECT_GE(alarms, 1);

  v1::ListCheckpointsRequest list;
  v1::ListCheckpointsResponse checkpoints;
  list.set_job("demo");
  ASSERT_TRUE(cluster.control().ListCheckpoints(Cluster::Within(10).get(), list, &checkpoints).ok());
  int complete = 0;
  for (const v1::CheckpointStatus& checkpoint : checkpoints.checkpoints()) {
    if (checkpoint.state() != v1::CHECKPOINT_STATE_PUBLISHED) continue;
    ++complete;
    // As the worker sees it; the manifest's words are checked by everybody who loads.
    const std::string seen = absl::StrCat("/proc/", cluster.worker(0).pid(), "/root", checkpoint.directory());
    EXPECT_TRUE(fs::exists(seen + "/manifest.json")) << seen;
  }
  EXPECT_GE(complete, 1);
  EXPECT_EQ(status.checkpoint_step(), checkpoints.checkpoints(complete - 1).step())
      << "the newest complete one";
  std::printf("%d complete checkpoints, then %d alarms\n", complete, alarms);
  if (HasFailure()) cluster.PrintLogs();
}

}  // namespace
}  // namespace ballast
