// The files of a checkpoint that real daemons have written: on disk before the manifest says so, and what the
// manifest and state.json say of them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "plan/layout.h"
#include "protocol/checkpoint.h"
#include "tests/e2e/cluster.h"
#include "tests/e2e/plan_edits.h"
#include "tests/e2e/rollout.h"
#include "tests/worker/checkpoint/independent_reader.h"
#include "tests/worker/checkpoint/independent_sha256.h"

namespace ballast {
namespace {

namespace fs = std::filesystem;

constexpr int kRanks = 4;

JobConfig CheckpointedJob(const Cluster& cluster) {
  JobConfig job = SmallJob("demo", kRanks, 100000);  // stopped by request
  job.checkpoint.path = cluster.dir() / "checkpoints";
  job.checkpoint.every_steps = 10;
  return job;
}

// Directories with a manifest, oldest first.
std::vector<std::string> Complete(const Cluster& cluster) {
  std::vector<std::string> paths;
  for (const auto& entry : fs::directory_iterator(cluster.dir() / "checkpoints/demo"))
    if (fs::exists(entry.path() / kManifestFile)) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::vector<std::string> NamesIn(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

int64_t Number(const ReadValue& value) { return std::stoll(value.text); }

std::vector<int64_t> Numbers(const ReadValue& list) {
  std::vector<int64_t> numbers;
  for (const ReadValue& item : list.items) numbers.push_back(Number(item));
  return numbers;
}

// ---- on disk before the manifest says so ----

// What the workers did below the job's directory, in order.
class Journal {
 public:
  explicit Journal(const std::string& path) {
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);) lines_.push_back(line);
  }
  bool empty() const { return lines_.empty(); }
  // The first such line behind `from` (-1: from the beginning), or the end.
  int First(const std::string& line, int from = -1) const {
    const auto begin = lines_.begin() + (from + 1);
    return static_cast<int>(std::find(begin, lines_.end(), line) - lines_.begin());
  }
  int Last(const std::string& line) const {
    return static_cast<int>(lines_.rend() - std::find(lines_.rbegin(), lines_.rend(), line)) - 1;
  }
  int end() const { return static_cast<int>(lines_.size()); }
  // The temporary file that became `path`, of the first rename to it.
  std::string Temporary(const std::string& path) const {
    const std::string begin = "begin rename ", end = absl::StrCat(" ", path);
    for (const std::string& line : lines_) {
      if (line.starts_with(begin) && line.ends_with(end))
        return line.substr(begin.size(), line.size() - begin.size() - end.size());
    }
    return "";
  }
  // Where an fsync of `path` has ended that began behind line `from`, or the end.
  int Synced(const std::string& path, int from) const {
    const int begun = First(absl::StrCat("begin fsync ", path), from);
    return begun == end() ? end() : First(absl::StrCat("end fsync ", path), begun);
  }
  // `path` was written, then fsynced under its temporary name, then renamed: the line where that has ended,
  // or the end with a failure.
  int InPlace(const std::string& path) const {
    const std::string temporary = Temporary(path);
    const int written = Last(absl::StrCat("end write ", temporary));
    EXPECT_GE(written, 0) << path << " was never written";
    const std::string rename = absl::StrCat("rename ", temporary, " ", path);
    EXPECT_LT(Synced(temporary, written), First("begin " + rename))
        << path << " is renamed before it is fsynced";
    EXPECT_NE(First("end " + rename), end()) << path;
    return First("end " + rename);
  }

 private:
  std::vector<std::string> lines_;
};

TEST(CheckpointFiles, AreFsyncedOnEveryRankBeforeTheManifestIsThere) {
  Cluster cluster;
  const std::string folder = cluster.dir() / "checkpoints/demo";
  cluster.StartCoordinator();
  cluster.SetPrefix({"/usr/bin/env", absl::StrCat("LD_PRELOAD=", BALLAST_FILE_JOURNAL_SHIM),
                     absl::StrCat("FILE_JOURNAL_FOLDER=", folder),
                     absl::StrCat("FILE_JOURNAL=", cluster.dir() / "journal")});
  cluster.StartWorkers(kRanks);
  cluster.SetPrefix({});
  ASSERT_TRUE(cluster.Submit(CheckpointedJob(cluster)).ok());
  ASSERT_TRUE(
      cluster.WaitForJob("demo", 60, [](const v1::JobStatus& job) { return job.checkpoint_step() >= 20; }));
  StopAndEnd(cluster);

  const std::vector<std::string> directories = Complete(cluster);
  ASSERT_GE(directories.size(), 2u);
  const Journal journal(cluster.dir() / "journal");
  ASSERT_FALSE(journal.empty());
  for (const std::string& directory : directories) {
    const std::string manifest = absl::StrCat(directory, "/", kManifestFile);
    const int published =
        journal.First(absl::StrCat("begin rename ", journal.Temporary(manifest), " ", manifest));
    ASSERT_LT(published, journal.end()) << directory;
    int optimizers = 0;
    for (const std::string& name : NamesIn(directory)) {
      if (name == kManifestFile) continue;
      const std::string path = absl::StrCat(directory, "/", name);
      const int in_place = journal.InPlace(path);
      EXPECT_LT(in_place, published) << path;
      EXPECT_LT(journal.Synced(directory, in_place), published)
          << "the name " << path << " is not on disk when the manifest is put in place";
      optimizers += name.starts_with("optimizer-") ? 1 : 0;
    }
    EXPECT_EQ(optimizers, kRanks) << directory;
    const int made = journal.First(absl::StrCat("end mkdir ", directory));
    EXPECT_LT(journal.Synced(folder, made), published) << "the name of the directory is not on disk";
    // A checkpoint is told as complete, and older ones are deleted, only behind this.
    EXPECT_NE(journal.Synced(directory, journal.InPlace(manifest)), journal.end()) << manifest;
  }
}

// ---- what they say ----

// The tensors of a checkpoint's files whose names begin with `kind`; none is there twice.
std::map<std::string, ReadTensor> Tensors(const std::string& directory, const std::string& kind) {
  std::map<std::string, ReadTensor> tensors;
  for (const std::string& name : NamesIn(directory)) {
    if (!name.starts_with(kind) || !name.ends_with(".safetensors")) continue;
    for (auto& [tensor, content] : ReadTensorFile(absl::StrCat(directory, "/", name)))
      EXPECT_TRUE(tensors.emplace(tensor, std::move(content)).second) << tensor << " is written twice";
  }
  return tensors;
}

// The manifest names every other file with its size and digest; returns its step and its plan.
std::pair<int64_t, int64_t> ExpectManifest(const std::string& directory) {
  const ReadValue manifest = ReadJsonFile(absl::StrCat(directory, "/", kManifestFile));
  EXPECT_EQ(manifest.members.at("schema_version").text, "1");
  EXPECT_EQ(manifest.members.at("job").text, "demo");
  EXPECT_EQ(manifest.members.at("generation").text, "1");
  std::vector<std::string> names = {kManifestFile};
  for (const ReadValue& file : manifest.members.at("files").items) {
    const std::string& name = names.emplace_back(file.members.at("name").text);
    const std::string content = ReadFile(absl::StrCat(directory, "/", name));
    EXPECT_EQ(Number(file.members.at("bytes")), static_cast<int64_t>(content.size())) << name;
    EXPECT_EQ(file.members.at("sha256").text, IndependentSha256(content)) << name;
  }
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, NamesIn(directory)) << "no file beside those of the manifest, and all of them";
  return {Number(manifest.members.at("step")), Number(manifest.members.at("plan"))};
}

void ExpectState(const std::string& directory, const JobConfig& job, int64_t step, const v1::Plan& plan) {
  const ReadValue state = ReadJsonFile(directory + "/state.json");
  const auto number = [&](const std::string& name) { return Number(state.members.at(name)); };
  EXPECT_EQ(number("schema_version"), 1);
  EXPECT_EQ(state.members.at("job").text, "demo");
  EXPECT_EQ(number("step"), step);
  EXPECT_EQ(number("generation"), 1);
  EXPECT_EQ(number("seed"), static_cast<int64_t>(job.training.seed));
  EXPECT_EQ(number("ranks"), kRanks);
  EXPECT_EQ(number("slots_per_rank"), job.placement.slots_per_rank);
  EXPECT_EQ(number("block_elements"), job.placement.block_elements);
  const auto& position = state.members.at("data_position").members;
  EXPECT_EQ(Number(position.at("next_step")), step + 1);
  EXPECT_EQ(Number(position.at("sequences_trained")), step * job.training.global_batch_sequences);
  const auto& model = state.members.at("model").members;
  EXPECT_EQ(Number(model.at("vocabulary_size")), job.model.vocabulary_size);
  EXPECT_EQ(Number(model.at("hidden_size")), job.model.hidden_size);
  EXPECT_EQ(Number(model.at("layers")), job.model.layers);
  EXPECT_EQ(Number(model.at("experts")), job.model.moe.experts);
  EXPECT_EQ(Number(model.at("top_k")), job.model.moe.top_k);
  EXPECT_EQ(Number(model.at("intermediate_size")), job.model.moe.intermediate_size);

  const auto& written = state.members.at("plan").members;
  EXPECT_EQ(Number(written.at("version")), plan.version());
  const std::vector<int64_t> homes(plan.body().homes().begin(), plan.body().homes().end());
  EXPECT_EQ(Numbers(written.at("homes")), homes);
  const std::vector<ReadValue>& layers = written.at("layers").items;
  ASSERT_EQ(layers.size(), static_cast<size_t>(plan.body().layers_size()));
  for (size_t l = 0; l < layers.size(); ++l) {
    const v1::LayerPlan& layer = plan.body().layers(static_cast<int>(l));
    const std::vector<ReadValue>& ranks = layers[l].members.at("slots").items;
    ASSERT_EQ(ranks.size(), static_cast<size_t>(kRanks));
    for (int rank = 0; rank < kRanks; ++rank) {
      const auto& experts = layer.slots(rank).experts();
      EXPECT_EQ(Numbers(ranks[static_cast<size_t>(rank)]),
                std::vector<int64_t>(experts.begin(), experts.end()))
          << "layer " << l << " rank " << rank;
    }
  }
}

// Every parameter is there once and whole, in the file that the index names, and says what its masters say;
// every block has its three tensors.
void ExpectTensors(const std::string& directory, const ParameterLayout& layout) {
  const std::map<std::string, ReadTensor> model = Tensors(directory, "model-");
  const std::map<std::string, ReadTensor> states = Tensors(directory, "optimizer-");
  const auto index = ReadTextMap(directory + "/model.safetensors.index.json", "weight_map");
  EXPECT_EQ(model.size(), layout.parameters().size());
  EXPECT_EQ(index.size(), model.size());
  EXPECT_EQ(states.size(), 3 * layout.blocks().size());
  for (const Parameter& parameter : layout.parameters()) {
    ASSERT_EQ(model.count(parameter.name), 1u) << parameter.name;
    const ReadTensor& tensor = model.at(parameter.name);
    EXPECT_EQ(tensor.shape, parameter.shape) << parameter.name;
    EXPECT_EQ(ReadTensorFile(absl::StrCat(directory, "/", index.at(parameter.name))).count(parameter.name),
              1u);
    std::vector<float> masters;
    bool trained = false;
    for (int b = 0; b < parameter.blocks; ++b) {
      const Block& block = layout.block(BlockId(parameter.first_block + b));
      const std::string prefix = absl::StrCat(parameter.name, "@", block.offset);
      const std::vector<float>& part = states.at(prefix + ".master").values;
      masters.insert(masters.end(), part.begin(), part.end());
      EXPECT_EQ(states.at(prefix + ".moment1").values.size(), part.size());
      for (float squared : states.at(prefix + ".moment2").values) {
        EXPECT_GE(squared, 0) << prefix;
        trained |= squared > 0;
      }
    }
    EXPECT_EQ(masters, tensor.values) << parameter.name;
    EXPECT_TRUE(trained) << parameter.name;
  }
}

TEST(CheckpointFiles, OfRealDaemonsAreWhatAnIndependentReaderExpects) {
  Cluster cluster;
  cluster.StartCoordinator();
  cluster.StartWorkers(kRanks);
  const JobConfig job = CheckpointedJob(cluster);
  ASSERT_TRUE(cluster.Submit(job).ok());
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, AtStep(12)));
  // Slots and homes move, so that the files are not those of the first plan alone.
  const v1::Plan first = cluster.Plan("demo")->plan();
  v1::PlanFile next = RotateExperts(first);
  MoveHomes(first, 0, 2, 5, next);
  ASSERT_TRUE(cluster.Push("demo", next).ok());
  ASSERT_TRUE(cluster.WaitForPlan("demo", 2, v1::PLAN_STATE_ACTIVE, 30));
  const int64_t switched = cluster.Plan("demo", 2)->status().switch_step();
  ASSERT_TRUE(cluster.WaitForJob(
      "demo", 60, [&](const v1::JobStatus& status) { return status.checkpoint_step() >= switched; }));
  const v1::JobStatus status = StopAndEnd(cluster);

  const std::vector<std::string> directories = Complete(cluster);
  ASSERT_GE(directories.size(), 2u);
  const ParameterLayout layout = ParameterLayout::Make(job.model, job.placement.block_elements).value();
  int64_t last = 0;
  for (const std::string& directory : directories) {
    SCOPED_TRACE(directory);
    const auto [step, version] = ExpectManifest(directory);
    EXPECT_EQ(directory,
              absl::StrCat(cluster.dir() / "checkpoints/demo/", CheckpointName(Step(step), Generation(1))));
    EXPECT_EQ(version, step + 1 >= switched ? 2 : 1) << "the plan of the step behind it";
    ExpectState(directory, job, step, cluster.Plan("demo", version)->plan());
    ExpectTensors(directory, layout);
    last = step;
  }
  EXPECT_EQ(last, status.step()) << "a stop is checkpointed";
  std::printf("%d complete checkpoints read: %s\n", static_cast<int>(directories.size()),
              absl::StrJoin(directories, " ", [](std::string* out, const std::string& path) {
                absl::StrAppend(out, fs::path(path).filename().string());
              }).c_str());
}

}  // namespace
}  // namespace ballast
