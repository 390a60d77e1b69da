// Files that appear whole or not at all.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ballast {

// A file that is written bit by bit beside `path`, and renamed to it by Finish. Without that nothing of it is
// left. Errors name the path.
class FileByRename {
 public:
  // The mode holds from the first byte.
  static absl::StatusOr<std::unique_ptr<FileByRename>> Create(const std::string& path, mode_t mode);
  ~FileByRename();
  FileByRename(const FileByRename&) = delete;
  FileByRename& operator=(const FileByRename&) = delete;

  absl::Status Append(const std::string& content);
  // Durable, and under its name. Once, behind the last Append.
  absl::Status Finish();

 private:
  FileByRename(std::string path, std::string temporary, int file, mode_t mode);
  absl::Status Failed(const char* what) const;

  const std::string path_, temporary_;
  const mode_t mode_;
  int file_;  // -1: closed
  bool done_ = false;
};

// The same for all of it at once.
absl::Status WriteFileByRename(const std::string& path, const std::string& content, mode_t mode);

}  // namespace ballast
