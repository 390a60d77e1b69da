// The job's folder: names, what is complete, what is deleted, and the proof that all workers see it.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "protocol/checkpoint.h"
#include "tests/base/temp_dir.h"
#include "tests/coordinator/small_job.h"
#include "tests/worker/comm/memory_store.h"
#include "worker/checkpoint/files.h"
#include "worker/checkpoint/manifest.h"
#include "worker/checkpoint/publish.h"
#include "worker/checkpoint/shared_path.h"

namespace ballast {
namespace {

namespace fs = std::filesystem;

void Touch(const std::string& path) {
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream(path) << "x";
}

TEST(CheckpointNames, AreReadBackAndNothingElseIs) {
  EXPECT_EQ(CheckpointName(Step(120), Generation(3)), "step-000000120-g3");
  for (int64_t step : {1, 999999999, 1000000000}) {
    const auto key = ParseCheckpointName(CheckpointName(Step(step), Generation(12)));
    ASSERT_TRUE(key.has_value()) << step;
    EXPECT_EQ(*key, (CheckpointKey{Generation(12), Step(step)}));
  }
  for (const char* name :
       {"", "step-", "step-5-g1", "step-000000005-g", "step-000000005-g01", "step-000000005-g-1",
        "step-+00000005-g1", "step-000000005-g1 ", "step-000000005-g1.old", "xstep-000000005-g1"}) {
    EXPECT_FALSE(ParseCheckpointName(name).has_value()) << name;
  }
  // A later generation's is newer, though recovery went back.
  EXPECT_LT((CheckpointKey{Generation(1), Step(100)}), (CheckpointKey{Generation(2), Step(60)}));
}

TEST(CheckpointManifestText, IsReadBack) {
  CheckpointManifest manifest;
  manifest.job = JobId("demo");
  manifest.step = Step(7);
  manifest.generation = Generation(2);
  manifest.plan = PlanVersion(5);
  manifest.files = {{"b.json", 12, std::string(64, 'b')}, {"a.json", 0, std::string(64, '0')}};
  const auto back = ReadManifestText(ManifestText(manifest), "m");
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->job, manifest.job);
  EXPECT_EQ(back->step, manifest.step);
  EXPECT_EQ(back->generation, manifest.generation);
  EXPECT_EQ(back->plan, manifest.plan);
  ASSERT_EQ(back->files.size(), 2u);
  EXPECT_EQ(back->files[0], manifest.files[1]) << "by name";
  manifest.files.clear();
  EXPECT_TRUE(ReadManifestText(ManifestText(manifest), "m").ok());
  EXPECT_EQ(ReadManifestText(R"({"schema_version": 1, "schema_version": 1})", "m").status().message(),
            "m: found \"schema_version\" twice");
}

TEST(CheckpointFolder, StandsForItsNewestCompleteCheckpoint) {
  TempDir dir;
  EXPECT_NE(std::string(FindCheckpoint(dir.path()).status().message()).find("no complete checkpoint"),
            std::string::npos);
  Touch(dir / "step-000000005-g1/manifest.json");
  Touch(dir / "step-000000009-g1/manifest.json");
  Touch(dir / "step-000000007-g2/manifest.json");
  Touch(dir / "step-000000008-g2/state.json");
  EXPECT_EQ(FindCheckpoint(dir.path()).value(), dir / "step-000000007-g2");
  EXPECT_EQ(FindCheckpoint(dir / "step-000000005-g1").value(), dir / "step-000000005-g1");
  EXPECT_FALSE(FindCheckpoint(dir / "step-000000008-g2").ok());
  EXPECT_FALSE(FindCheckpoint(dir / "nowhere").ok());
}

TEST(CheckpointFolder, PruningLeavesWhatIsNewerKeptForeignOrOfAnotherRun) {
  TempDir dir;
  for (const char* name : {"step-000000002-g1", "step-000000004-g2", "step-000000006-g2", "step-000000008-g2",
                           "step-000000010-g2", "step-000000012-g2", "step-000000003-g3"}) {
    Touch(dir / (std::string(name) + "/state.json"));
    Touch(dir / (std::string(name) + "/optimizer-00001-of-00001.safetensors"));
    Touch(dir / (std::string(name) + "/model-00001-of-00001.safetensors.123.tmp"));
  }
  Touch(dir / "step-000000004-g2/manifest.json");
  Touch(dir / "step-000000006-g2/notes.txt");
  Touch(dir / "notes/state.json");
  const std::vector<std::string> left =
      PruneFolder(dir.path(), Generation(2), {"step-000000008-g2", "step-000000012-g2"});
  ASSERT_EQ(left.size(), 1u);
  EXPECT_NE(left[0].find("step-000000006-g2/notes.txt: not written by a checkpoint"), std::string::npos);
  EXPECT_EQ(ListDirectory(dir.path()).value(),
            (std::vector<std::string>{"notes", "step-000000002-g1", "step-000000003-g3", "step-000000006-g2",
                                      "step-000000008-g2", "step-000000012-g2"}));
  EXPECT_EQ(ListDirectory(dir / "step-000000006-g2").value(), std::vector<std::string>{"notes.txt"});
  EXPECT_EQ(ListDirectory(dir / "step-000000008-g2").value().size(), 3u);
  EXPECT_TRUE(PruneFolder(dir.path(), Generation(2), {}).empty());
  EXPECT_EQ(ListDirectory(dir.path()).value().size(), 6u) << "nothing to keep means nothing to delete";
}

TEST(CheckpointFiles, AreWholeOrNotThere) {
  TempDir dir;
  const std::string text = "some content";
  const auto written = WriteDurably(dir / "a", {std::span<const char>(text), std::span<const char>(text)});
  ASSERT_TRUE(written.ok()) << written.status();
  EXPECT_EQ(written->bytes, 24);
  const std::string whole = ReadWhole(dir / "a", 100).value();
  EXPECT_EQ(whole, text + text);
  EXPECT_EQ(written->sha256, Sha256({reinterpret_cast<const unsigned char*>(whole.data()), whole.size()}));
  EXPECT_EQ(Sha256({}), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  const std::atomic<bool> cancel{true};
  EXPECT_EQ(WriteDurably(dir / "b", {std::span<const char>(text)}, &cancel).status().code(),
            absl::StatusCode::kAborted);
  EXPECT_EQ(ListDirectory(dir.path()).value(), std::vector<std::string>{"a"}) << "nothing temporary is left";
  EXPECT_FALSE(ReadWhole(dir / "a", 10).ok());
  EXPECT_TRUE(MakeDirectories(dir / "x/y/z").ok());
  EXPECT_TRUE(MakeDirectories(dir / "x/y/z").ok());
  EXPECT_EQ(MakeDirectories(dir / "a/b").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(FileError(ENOSPC, "write", "p").ToString(),
            "RESOURCE_EXHAUSTED: p: write: No space left on device");
}

class SharedPath : public testing::Test {
 protected:
  SharedPath() {
    auto job = SmallJob("demo", 2);
    job->checkpoint.path = dir_ / "shared";
    assign_.job = job;
    assign_.stamp = {Term(1), JobId("demo"), Generation(4)};
    for (int rank = 0; rank < 2; ++rank) {
      Member member;
      member.rank = Rank(rank);
      member.worker = WorkerId(rank == 0 ? "w0" : "w1");
      member.incarnation = Incarnation(0xabc);
      assign_.members.push_back(member);
    }
  }
  absl::Status Prove(int rank) {
    return ProveSharedPath(assign_, Rank(rank), store_, SteadyClock().Now() + Seconds(5));
  }
  TempDir dir_;
  Assign assign_;
  MemoryStore store_;
};

TEST_F(SharedPath, IsProvenByAToken) {
  EXPECT_TRUE(Prove(0).ok());
  EXPECT_TRUE(Prove(1).ok());
}

TEST_F(SharedPath, AWorkerThatSeesAnotherDirectoryIsNamed) {
  ASSERT_TRUE(Prove(0).ok());
  auto job = std::make_shared<JobConfig>(*assign_.job);
  job->checkpoint.path = dir_ / "other";
  assign_.job = job;
  const std::string missing(Prove(1).message());
  EXPECT_NE(missing.find("checkpoint.path: worker w1: "), std::string::npos) << missing;
  EXPECT_NE(missing.find(dir_ / "other/demo/token-g4"), std::string::npos) << missing;
  EXPECT_NE(missing.find("all workers must see one directory there, as worker w0"), std::string::npos)
      << missing;
  Touch(dir_ / "other/demo/token-g4");
  EXPECT_NE(std::string(Prove(1).message()).find("another run's token"), std::string::npos);
}

TEST_F(SharedPath, RankZeroSaysWhatIsWrongAndTheOthersDoNotCoverIt) {
  Touch(dir_ / "shared");
  const absl::Status refused = Prove(0);
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(std::string(refused.message()).find("worker w0: " + (dir_ / "shared")), std::string::npos)
      << refused;
  EXPECT_TRUE(store_.values().empty());
}

TEST_F(SharedPath, AnotherRunsCheckpointsAreNotMixedWith) {
  Touch(dir_ / "shared/demo/step-000000010-g3/manifest.json");
  EXPECT_TRUE(Prove(0).ok()) << "an earlier generation's";
  Touch(dir_ / "shared/demo/step-000000010-g4/manifest.json");
  const absl::Status refused = Prove(0);
  EXPECT_NE(std::string(refused.message()).find("step-000000010-g4 was written by another run"),
            std::string::npos);
  EXPECT_NE(std::string(refused.message()).find("--resume"), std::string::npos);
}

}  // namespace
}  // namespace ballast
