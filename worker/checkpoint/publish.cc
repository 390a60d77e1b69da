#include "worker/checkpoint/publish.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "absl/strings/str_cat.h"
#include "protocol/checkpoint.h"
#include "worker/checkpoint/files.h"

namespace ballast {
namespace {

// The names that checkpoints' files have, also while they are being written.
bool IsOurs(std::string name) {
  if (name.ends_with(".tmp")) {
    name.resize(name.size() - 4);
    const size_t dot = name.rfind('.');
    if (dot == std::string::npos || dot + 1 == name.size() ||
        name.find_first_not_of("0123456789", dot + 1) != std::string::npos) {
      return false;
    }
    name.resize(dot);
  }
  for (const char* known : {kManifestFile, "state.json", "config.json", "model.safetensors.index.json"}) {
    if (name == known) return true;
  }
  for (const std::string kind : {"model-", "optimizer-"}) {
    if (name.starts_with(kind) && name.ends_with(".safetensors") &&
        name.substr(kind.size(), name.size() - kind.size() - 12).find_first_not_of("0123456789-of") ==
            std::string::npos) {
      return true;
    }
  }
  return false;
}

void DeleteCheckpoint(const std::string& directory, std::vector<std::string>& left) {
  absl::StatusOr<std::vector<std::string>> names = ListDirectory(directory);
  if (!names.ok()) {
    left.push_back(std::string(names.status().message()));
    return;
  }
  std::stable_partition(names->begin(), names->end(),
                        [](const std::string& name) { return name == kManifestFile; });
  for (const std::string& name : *names) {
    const std::string path = absl::StrCat(directory, "/", name);
    if (!IsOurs(name)) {
      left.push_back(absl::StrCat(path, ": not written by a checkpoint, so it stays"));
    } else if (unlink(path.c_str()) != 0 && errno != ENOENT) {
      left.push_back(std::string(FileError(errno, "delete", path).message()));
    }
  }
  if (rmdir(directory.c_str()) != 0 && errno != ENOENT && errno != ENOTEMPTY)
    left.push_back(std::string(FileError(errno, "delete", directory).message()));
}

}  // namespace

absl::Status PublishManifest(const std::string& directory, const std::string& text) {
  return WriteDurably(absl::StrCat(directory, "/", kManifestFile), {text}).status();
}

std::vector<std::string> PruneFolder(const std::string& folder, Generation first,
                                     const std::vector<std::string>& keep) {
  std::optional<CheckpointKey> newest;
  for (const std::string& name : keep) newest = std::max(newest, ParseCheckpointName(name));
  std::vector<std::string> left;
  if (!newest.has_value()) return left;
  absl::StatusOr<std::vector<std::string>> names = ListDirectory(folder);
  if (!names.ok()) return {std::string(names.status().message())};
  for (const std::string& name : *names) {
    const std::optional<CheckpointKey> key = ParseCheckpointName(name);
    if (!key.has_value() || key->generation < first || *key >= *newest) continue;
    if (std::find(keep.begin(), keep.end(), name) == keep.end())
      DeleteCheckpoint(absl::StrCat(folder, "/", name), left);
  }
  return left;
}

}  // namespace ballast
