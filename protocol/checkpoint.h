// Names and manifest of a checkpoint's files, as worker and coordinator agree on them. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "protocol/messages.h"

namespace ballast {

// Version of the files; a program reads its own alone.
inline constexpr int kCheckpointSchema = 1;
inline constexpr char kManifestFile[] = "manifest.json";

// Where a job keeps its checkpoints: a folder of its name below JobConfig's checkpoint.path.
std::string CheckpointFolder(const std::string& path, const JobId& job);

// A checkpoint's own directory in there: "step-000000120-g3". It names the generation, so that a stopped rank
// that wakes up late cannot write into what a later generation writes (F17).
std::string CheckpointName(Step step, Generation generation);
struct CheckpointKey {
  Generation generation;  // the later one is newer, whatever the steps
  Step step;
  friend auto operator<=>(const CheckpointKey&, const CheckpointKey&) = default;
};
// Nothing when `name` is not exactly what CheckpointName makes.
std::optional<CheckpointKey> ParseCheckpointName(const std::string& name);

// What makes a checkpoint complete: every file but the manifest itself, with its digest.
struct CheckpointManifest {
  int schema_version = kCheckpointSchema;
  JobId job;
  Step step;
  Generation generation;
  PlanVersion plan;                   // of step + 1
  std::vector<CheckpointFile> files;  // by name
};
// JSON, a file a line.
std::string ManifestText(const CheckpointManifest& manifest);

}  // namespace ballast
