// What is damaged, foreign or lying is refused with the file and the cause.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/rng.h"
#include "tests/worker/checkpoint/checkpoint_run.h"
#include "worker/checkpoint/files.h"

namespace ballast {
namespace {

namespace fs = std::filesystem;

std::string Read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}
void Write(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

// One complete checkpoint of two ranks, damaged anew by each test in a copy.
class CheckpointDamage : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = new TempDir();
    job_ = new JobConfig(TinyJob());
    job_->training.steps = 3;
    job_->checkpoint.path = dir_->path();
    RunSpec spec;
    spec.ranks = 2;
    spec.job = *job_;
    Publish(*job_, RunTraining(spec), Step(3));
  }
  static void TearDownTestSuite() {
    delete job_;
    delete dir_;
  }
  void SetUp() override {
    directory_ = copy_ / "step-000000003-g1";
    fs::copy(DirectoryOf(*job_, Step(3)), directory_);
  }
  std::string File(const std::string& name) const { return directory_ + "/" + name; }
  // As all ranks together would load it.
  std::string Error(const JobConfig& job, Step step = Step(3)) const {
    const ParameterLayout layout = LayoutOf(job);
    for (int rank = 0; rank < 2; ++rank) {
      auto loader = CheckpointLoader::Open({.directory = directory_,
                                            .step = step,
                                            .model = job.model,
                                            .master_bytes = sizeof(float),
                                            .self = Rank(rank),
                                            .ranks = 2},
                                           layout);
      if (!loader.ok()) return std::string(loader.status().message());
      std::vector<char> state(3 * sizeof(float) * static_cast<size_t>(layout.total_elements()));
      for (size_t b = 0; b < layout.blocks().size(); ++b) {
        const absl::Status filled = (*loader)->FillState(BlockId(static_cast<int>(b)), state.data());
        if (!filled.ok()) return std::string(filled.message());
      }
    }
    return "";
  }
  std::string Error() const { return Error(*job_); }
  // The manifest as if the file had always been like this: what is wrong inside must be found as well.
  void Bless(const std::string& name) {
    CheckpointManifest manifest = ReadManifest(directory_).value();
    const std::string content = Read(File(name));
    for (CheckpointFile& file : manifest.files) {
      if (file.name != name) continue;
      file.bytes = static_cast<int64_t>(content.size());
      file.sha256 = Sha256({reinterpret_cast<const unsigned char*>(content.data()), content.size()});
    }
    Write(File(kManifestFile), ManifestText(manifest));
  }

  static TempDir* dir_;
  static JobConfig* job_;
  TempDir copy_;
  std::string directory_;
};
TempDir* CheckpointDamage::dir_ = nullptr;
JobConfig* CheckpointDamage::job_ = nullptr;

TEST_F(CheckpointDamage, NoneIsNoError) { EXPECT_EQ(Error(), ""); }

TEST_F(CheckpointDamage, EveryFileTruncatedFlippedOrMissing) {
  for (const auto& entry : fs::directory_iterator(directory_)) {
    const std::string path = entry.path().string();
    const std::string content = Read(path);
    Rng rng(content.size());
    for (int kind = 0; kind < 3; ++kind) {
      std::string damaged = content;
      if (kind == 0) damaged.resize(rng.Below(content.size()));
      // The manifest has digits that a flip turns into other digits, so its first byte is taken.
      if (kind == 1) damaged[path.ends_with(kManifestFile) ? 0 : rng.Below(content.size())] ^= 4;
      Write(path, damaged);
      if (kind == 2) fs::remove(path);
      const std::string error = Error();
      EXPECT_NE(error.find(path.ends_with(kManifestFile) ? directory_ : path), std::string::npos)
          << "damage " << kind << " of " << path << ": " << error;
    }
    Write(path, content);
  }
  EXPECT_EQ(Error(), "");
}

TEST_F(CheckpointDamage, FilesSwapped) {
  const std::string a = "optimizer-00001-of-00002.safetensors", b = "optimizer-00002-of-00002.safetensors";
  fs::rename(File(a), File("x"));
  fs::rename(File(b), File(a));
  fs::rename(File("x"), File(b));
  EXPECT_NE(Error().find(File(a)), std::string::npos) << Error();
}

TEST_F(CheckpointDamage, AHeaderThatLies) {
  const std::string name = "optimizer-00001-of-00002.safetensors";
  const std::string content = Read(File(name));
  struct Case {
    const char* from;
    const char* to;  // equally long
    const char* error;
  };
  for (const Case& c :
       {Case{"model.embed_tokens.weight@0.master", "model.embed_tokens.weight@0.mister",
             "found no part of a state"},
        Case{"model.embed_tokens.weight@0.master", "model.embed_tokenz.weight@0.master",
             "found no parameter of that name"},
        Case{"\"shape\":[40]", "\"shape\":[41]", "bytes for 41 values of F32"},
        Case{"\"dtype\":\"F32\"", "\"dtype\":\"F64\"", "bytes for 40 values of F64"},
        Case{"\"dtype\":\"F32\"", "\"dtype\":\"I32\"", "allowed F32, F64, BF16"},
        Case{"\"data_offsets\":[0,160]", "\"data_offsets\":[4,164]", "overlap or leave a gap"},
        Case{"\"data_offsets\":[0,160]", "\"data_offsets\":[9,160]", "bytes for 40 values of F32"},
        Case{"\"data_offsets\":[0,160]", "\"data_offsets\":[-,160]", "that are no JSON"}}) {
    std::string lie = content;
    const size_t at = lie.find(c.from);
    ASSERT_NE(at, std::string::npos) << c.from;
    lie.replace(at, std::strlen(c.from), c.to);
    Write(File(name), lie);
    Bless(name);
    const std::string error = Error();
    EXPECT_NE(error.find(File(name)), std::string::npos) << error;
    EXPECT_NE(error.find(c.error), std::string::npos) << error;
  }
  std::string lie = content;
  lie[7] = 1;  // a header of 2^56 bytes
  Write(File(name), lie);
  Bless(name);
  EXPECT_NE(Error().find("found a header of 720575940379"), std::string::npos) << Error();
}

TEST_F(CheckpointDamage, AFileThatTheManifestForgot) {
  CheckpointManifest manifest = ReadManifest(directory_).value();
  std::erase_if(manifest.files, [](const CheckpointFile& file) {
    return file.name == "optimizer-00002-of-00002.safetensors";
  });
  Write(File(kManifestFile), ManifestText(manifest));
  EXPECT_NE(Error().find("in the optimizer files"), std::string::npos) << Error();
}

TEST_F(CheckpointDamage, AnotherSchemaStepOrModel) {
  EXPECT_NE(Error(*job_, Step(4)).find("step: found 3, allowed 4"), std::string::npos);
  JobConfig other = *job_;
  other.model.moe.intermediate_size = 10;
  EXPECT_EQ(Error(other), File("state.json") + ": model.intermediate_size: found 9, the job has 10");
  other = *job_;
  other.model.moe.top_k = 1;
  EXPECT_EQ(Error(other), File("state.json") + ": model.top_k: found 2, the job has 1");

  std::string state = Read(File("state.json"));
  state.replace(state.find("\"schema_version\": 1"), 19, "\"schema_version\": 7");
  Write(File("state.json"), state);
  Bless("state.json");
  EXPECT_EQ(Error(), File("state.json") + ": schema_version: found 7, this program reads 1");
  std::string manifest = Read(File(kManifestFile));
  manifest.replace(manifest.find("\"schema_version\": 1"), 19, "\"schema_version\": 2");
  Write(File(kManifestFile), manifest);
  EXPECT_EQ(Error(), File(kManifestFile) + ": schema_version: found 2, this program reads 1");
  manifest.replace(manifest.find("\"schema_version\": 2"), 19, "\"schema_version\": 1");
  manifest.replace(manifest.find("\"config.json\""), 13, "\"../onfig.js\"");
  Write(File(kManifestFile), manifest);
  EXPECT_NE(Error().find("files.name: found what is no name of a checkpoint's file"), std::string::npos)
      << Error();
}

// Random bytes in any text give an error or the same checkpoint, never a crash.
TEST_F(CheckpointDamage, RandomTextsNeverCrash) {
  int refused = 0;
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    Rng rng(seed);
    const std::string name = rng.Chance(0.4)   ? std::string(kManifestFile)
                             : rng.Chance(0.5) ? std::string("state.json")
                                               : std::string("optimizer-00001-of-00002.safetensors");
    const std::string content = Read(File(name));
    std::string damaged = content;
    for (uint64_t flips = 1 + rng.Below(3); flips > 0; --flips)
      damaged[rng.Below(std::min<size_t>(damaged.size(), 3000))] = static_cast<char>(rng.Next());
    if (rng.Chance(0.3)) damaged.resize(rng.Below(damaged.size()));
    Write(File(name), damaged);
    const std::string manifest = Read(File(kManifestFile));
    if (name != kManifestFile) Bless(name);
    refused += !Error().empty();
    Write(File(kManifestFile), name == kManifestFile ? content : manifest);
    Write(File(name), content);
  }
  EXPECT_GT(refused, 75);
  EXPECT_EQ(Error(), "");
}

}  // namespace
}  // namespace ballast
