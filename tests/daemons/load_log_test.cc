// Recorded loads on disk: what is read back after a restart, a torn end, and another generation.
#include "coordinator/load_log.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>

#include "coordinator/core.h"
#include "coordinator/memory_store.h"
#include "tests/base/temp_dir.h"
#include "tests/coordinator/live_job.h"
#include "tests/coordinator/small_job.h"

namespace ballast {
namespace {

StepReport Report(const std::string& job, int64_t generation, int64_t step, int64_t load) {
  StepReport report;
  report.job = JobId(job);
  report.generation = Generation(generation);
  report.step = Step(step);
  report.plan = PlanVersion(1);
  report.load.step = Step(step);
  report.load.tokens = {{load, 1, 2, 3}};
  report.rank_tokens = {{load, 6}};
  return report;
}

std::vector<std::pair<int64_t, int64_t>> StepsAndLoads(const std::vector<StepReport>& reports) {
  std::vector<std::pair<int64_t, int64_t>> result;
  for (const StepReport& report : reports) result.push_back({report.step.value(), report.load.tokens[0][0]});
  return result;
}
using Pairs = std::vector<std::pair<int64_t, int64_t>>;

std::unique_ptr<LoadLog> MustOpen(const std::string& directory, const LoadLogOptions& options = {}) {
  auto log = OpenLoadLog(directory, options);
  EXPECT_TRUE(log.ok()) << log.status();
  return *std::move(log);
}

TEST(LoadLog, IsReadBackByTheNextProcess) {
  TempDir dir;
  for (int64_t process = 0; process < 3; ++process) {
    auto log = MustOpen(dir / "loads");
    EXPECT_EQ(log->Read(JobId("a/b c")).size(), static_cast<size_t>(2 * process));
    log->Append(Report("a/b c", 1, 2 * process + 2, 10));
    log->Append(Report("a/b c", 1, 2 * process + 1, 11));  // late
    log->Append(Report("other", 1, 1, 5));
  }
  EXPECT_EQ(StepsAndLoads(MustOpen(dir / "loads")->Read(JobId("a/b c"))),
            (Pairs{{1, 11}, {2, 10}, {3, 11}, {4, 10}, {5, 11}, {6, 10}}));
  EXPECT_TRUE(MustOpen(dir / "loads")->Read(JobId("unknown")).empty());
}

// Cut anywhere, or with a byte that is another one, the records before are read and new ones follow them.
TEST(LoadLog, ATornOrDamagedEndIsCutOff) {
  TempDir dir;
  MustOpen(dir / "loads")->Append(Report("job", 1, 1, 10));
  const std::string path = dir / "loads/job.new";
  const auto one = std::filesystem::file_size(path);
  MustOpen(dir / "loads")->Append(Report("job", 1, 2, 20));
  const auto two = std::filesystem::file_size(path);
  ASSERT_GT(two, one);
  for (auto size = one; size < two; ++size) {
    std::filesystem::copy_file(path, dir / "whole", std::filesystem::copy_options::overwrite_existing);
    std::filesystem::resize_file(path, size);
    auto log = MustOpen(dir / "loads");
    ASSERT_EQ(StepsAndLoads(log->Read(JobId("job"))), (Pairs{{1, 10}})) << size;
    log->Append(Report("job", 1, 3, 30));
    ASSERT_EQ(StepsAndLoads(log->Read(JobId("job"))), (Pairs{{1, 10}, {3, 30}})) << size;
    std::filesystem::rename(dir / "whole", path);
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(static_cast<std::streamoff>(size));
    const char byte = static_cast<char>(file.get());
    file.seekp(static_cast<std::streamoff>(size));
    file.put(static_cast<char>(byte ^ 0x40));
    file.close();
    ASSERT_EQ(StepsAndLoads(MustOpen(dir / "loads")->Read(JobId("job"))), (Pairs{{1, 10}})) << size;
    std::fstream back(path, std::ios::binary | std::ios::in | std::ios::out);
    back.seekp(static_cast<std::streamoff>(size));
    back.put(byte);
  }
}

TEST(LoadLog, StepsThatAreTrainedAgainReplaceTheOldOnes) {
  TempDir dir;
  auto log = MustOpen(dir / "loads");
  for (int64_t step = 1; step <= 6; ++step) log->Append(Report("job", 1, step, 10));
  log->Append(Report("job", 2, 4, 20));
  log->Append(Report("job", 1, 7, 10));  // of the generation that is over
  log->Append(Report("job", 2, 5, 20));
  EXPECT_EQ(StepsAndLoads(log->Read(JobId("job"))), (Pairs{{1, 10}, {2, 10}, {3, 10}, {4, 20}, {5, 20}}));
}

TEST(LoadLog, IsBounded) {
  TempDir dir;
  const LoadLogOptions options{.bytes_max = 4000, .jobs_max = 2};
  {
    auto log = MustOpen(dir / "loads", options);
    for (int64_t step = 1; step <= 500; ++step) log->Append(Report("job", 1, step, 10));
    const auto kept = log->Read(JobId("job"));
    ASSERT_GT(kept.size(), 10u);
    EXPECT_EQ(kept.back().step, Step(500));
    for (size_t i = 1; i < kept.size(); ++i) EXPECT_EQ(kept[i].step, kept[i - 1].step.Next()) << "no gap";
    for (const char* job : {"b", "c", "d"}) log->Append(Report(job, 1, 1, 1));
  }
  uintmax_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir / "loads")) {
    if (entry.path().stem() == "job") bytes += entry.file_size();
  }
  EXPECT_LE(bytes, 4400u) << "two halves, each one record over";
  MustOpen(dir / "loads", options);
  int logs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir / "loads"))
    logs += entry.path().extension() == ".new";
  EXPECT_EQ(logs, 2);
}

TEST(LoadLog, WhatIsNoDirectoryIsNamed) {
  TempDir dir;
  std::ofstream(dir / "loads") << "a file";
  EXPECT_NE(OpenLoadLog(dir / "loads").status().message().find(dir / "loads"), std::string::npos);
}

// A coordinator records a job, the next one leads from the same store and log, and gives out all steps.
TEST(LoadLog, ATraceOutlivesTheCoordinator) {
  TempDir dir;
  auto job = SmallJob("demo", 4);
  job->planner.strategy = "contiguous";
  LiveJob live(job);
  auto log = MustOpen(dir / "loads");
  for (int64_t step = 1; step <= 30; ++step) {
    live.Run({{4 * step, 1, 1, 2}});
    const auto newest = live.core().Loads(job->name, 1);
    ASSERT_TRUE(newest.ok());
    ASSERT_EQ(newest->size(), 1u);
    log->Append(*newest->front());
  }
  EXPECT_TRUE(live.NextLeader()->Loads(job->name, 1000)->empty()) << "without the log";
  const auto next = live.NextLeader(MustOpen(dir / "loads")->Read(job->name));
  const auto loads = next->Loads(job->name, 1000);
  ASSERT_TRUE(loads.ok());
  ASSERT_EQ(loads->size(), 30u);
  for (int64_t step = 1; step <= 30; ++step) {
    const StepReport& report = *(*loads)[static_cast<size_t>(step) - 1];
    EXPECT_EQ(report.step, Step(step));
    EXPECT_EQ(report.load.tokens[0][0], 4 * step);
  }
}

}  // namespace
}  // namespace ballast
