// Files that are on disk when a call returns.
#pragma once

#include <atomic>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ballast {

// Errors name the path and the system's reason: PermissionDenied, NotFound, ResourceExhausted (the disk is
// full), else Unavailable.
absl::Status FileError(int error, const std::string& what, const std::string& path);

// Makes `path` and what is missing above it.
absl::Status MakeDirectories(const std::string& path);
// Names in a directory, sorted, without "." and "..".
absl::StatusOr<std::vector<std::string>> ListDirectory(const std::string& path);

struct WrittenFile {
  int64_t bytes = 0;
  std::string sha256;  // hexadecimal
};
// Writes `pieces` one after the other to a temporary file beside `path`, fsyncs it, renames it and fsyncs the
// directory. Aborted when `cancel` becomes true; nothing is left then, nor after an error.
absl::StatusOr<WrittenFile> WriteDurably(const std::string& path,
                                         const std::vector<std::span<const char>>& pieces,
                                         const std::atomic<bool>* cancel = nullptr);

// Whole, of at most `bytes_max` bytes.
absl::StatusOr<std::string> ReadWhole(const std::string& path, size_t bytes_max);
// In hexadecimal.
std::string Sha256(std::span<const unsigned char> bytes);

}  // namespace ballast
