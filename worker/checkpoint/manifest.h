// Complete checkpoints on disk: found by their manifests, which are read strictly.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "protocol/checkpoint.h"

namespace ballast {

// The text of a manifest; InvalidArgument names `file` and what is wrong: another schema version, names that
// leave the directory, digests that are none.
absl::StatusOr<CheckpointManifest> ReadManifestText(const std::string& text, const std::string& file);

// The manifest in `directory`. NotFound: there is none, so the checkpoint is not complete.
absl::StatusOr<CheckpointManifest> ReadManifest(const std::string& directory);

// `path` itself when it holds a manifest, else its newest subdirectory that does: a job's folder stands for
// its newest complete checkpoint. NotFound when there is none.
absl::StatusOr<std::string> FindCheckpoint(const std::string& path);

}  // namespace ballast
