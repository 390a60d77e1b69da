// What one worker does for all when every part of a checkpoint is on disk, and how old ones go.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/ids.h"

namespace ballast {

// Puts the manifest in place, durably: from then on the checkpoint in `directory` is complete. Once more does
// no harm.
absl::Status PublishManifest(const std::string& directory, const std::string& text);

// Deletes in the job's `folder` the checkpoints of generation `first` or later that are older than the newest
// of `keep` (names) and not in it. Of each, only files with names that checkpoints have; a directory in which
// something else lies stays. Manifests go first, so that what is left of an interrupted deletion is not
// taken for complete. Returns what could not be deleted, for the log.
std::vector<std::string> PruneFolder(const std::string& folder, Generation first,
                                     const std::vector<std::string>& keep);

}  // namespace ballast
