#include "protocol/checkpoint.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace ballast {

std::string CheckpointFolder(const std::string& path, const JobId& job) {
  return absl::StrCat(path, "/", job.value());
}

std::string CheckpointName(Step step, Generation generation) {
  return absl::StrFormat("step-%09d-g%d", step.value(), generation.value());
}

std::optional<CheckpointKey> ParseCheckpointName(const std::string& name) {
  const size_t dash = name.find("-g");
  if (!name.starts_with("step-") || dash == std::string::npos) return std::nullopt;
  int64_t step = 0, generation = 0;
  if (!absl::SimpleAtoi(name.substr(5, dash - 5), &step) ||
      !absl::SimpleAtoi(name.substr(dash + 2), &generation)) {
    return std::nullopt;
  }
  // No sign, blank or other number of zeros.
  const CheckpointKey key{Generation(generation), Step(step)};
  if (step < 0 || generation < 0 || CheckpointName(key.step, key.generation) != name) return std::nullopt;
  return key;
}

// Names of jobs and files have no character that JSON would escape: the job reader and the wire see to it.
std::string ManifestText(const CheckpointManifest& manifest) {
  std::vector<CheckpointFile> files = manifest.files;
  std::sort(files.begin(), files.end(),
            [](const CheckpointFile& a, const CheckpointFile& b) { return a.name < b.name; });
  std::string text = absl::StrCat("{\n  \"schema_version\": ", manifest.schema_version, ",\n  \"job\": \"",
                                  manifest.job.value(), "\",\n  \"step\": ", manifest.step.value(),
                                  ",\n  \"generation\": ", manifest.generation.value(),
                                  ",\n  \"plan\": ", manifest.plan.value(), ",\n  \"files\": [");
  const char* separator = "\n";
  for (const CheckpointFile& file : files) {
    absl::StrAppend(&text, separator, "    {\"name\": \"", file.name, "\", \"bytes\": ", file.bytes,
                    ", \"sha256\": \"", file.sha256, "\"}");
    separator = ",\n";
  }
  absl::StrAppend(&text, "\n  ]\n}\n");
  return text;
}

}  // namespace ballast
