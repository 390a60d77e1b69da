// Training runs that write checkpoints, and the part of the coordinator that makes them complete.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "protocol/checkpoint.h"
#include "tests/base/temp_dir.h"
#include "tests/worker/trainer/training_run.h"
#include "worker/checkpoint/loader.h"
#include "worker/checkpoint/publish.h"

namespace ballast {

inline std::string DirectoryOf(const JobConfig& job, Step step, Generation generation = Generation(1)) {
  return CheckpointFolder(job.checkpoint.path, job.name) + "/" + CheckpointName(step, generation);
}

// Puts the manifest of what every rank has written after `step` in place.
inline void Publish(const JobConfig& job, const RunOutcome& outcome, Step step) {
  CheckpointManifest manifest;
  manifest.job = job.name;
  manifest.step = step;
  manifest.generation = Generation(1);
  ASSERT_EQ(outcome.checkpoints.count(step), 1u) << "step " << step;
  ASSERT_EQ(outcome.checkpoints.at(step).size(), outcome.results.size()) << "every rank";
  for (const auto& [rank, written] : outcome.checkpoints.at(step)) {
    manifest.plan = written.plan;
    manifest.files.insert(manifest.files.end(), written.files.begin(), written.files.end());
  }
  const absl::Status published = PublishManifest(DirectoryOf(job, step), ManifestText(manifest));
  ASSERT_TRUE(published.ok()) << published;
}

// Loads the checkpoint after `step` of `from` into a run of `spec`, which then begins with the next step.
inline absl::Status LoadInto(RunSpec& spec, const JobConfig& from, Step step) {
  auto layout = std::make_shared<ParameterLayout>(LayoutOf(spec.job));
  auto loader = CheckpointLoader::Open({.directory = DirectoryOf(from, step),
                                        .step = step,
                                        .model = spec.job.model,
                                        .master_bytes = sizeof(float),
                                        .self = Rank(0),
                                        .ranks = 1},
                                       *layout);
  if (!loader.ok()) return loader.status();
  std::shared_ptr<CheckpointLoader> shared = *std::move(loader);
  spec.start_step = step.Next();
  spec.fill_state = [layout, shared, mutex = std::make_shared<Mutex>()](BlockId block, void* state) {
    MutexLock lock(*mutex);
    return shared->FillState(block, state);
  };
  return absl::OkStatus();
}

}  // namespace ballast
