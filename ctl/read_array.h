// .npy files from disk.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/planner/layer/coactivation_matrix.h"
#include "replay/npy.h"

namespace ballast {

// OK, or InvalidArgument with the path: nothing is there, or a folder, pipe or device.
absl::Status CheckRegularFile(const std::string& path);
// The whole regular file. InvalidArgument, naming the path.
absl::StatusOr<std::string> ReadWholeFile(const std::string& path);
// Errors name the path.
absl::StatusOr<NpyArray> ReadArray(const std::string& path);
// How often experts are chosen together, from an array [layer][token][k], or [token][k] for all layers.
// Errors name the path.
absl::StatusOr<std::vector<CoactivationMatrix>> ReadPairs(const std::string& path, int experts);
// `status` with the path before its message.
absl::Status AtFile(const std::string& path, const absl::Status& status);

}  // namespace ballast
