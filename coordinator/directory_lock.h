// A directory that one process at a time may use.
#pragma once

#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace ballast {

// Held until destroyed or until the process ends, however it ends.
class DirectoryLock {
 public:
  // Locks <directory>/lock. FailedPrecondition with the holder's process id when another process has it.
  static absl::StatusOr<DirectoryLock> Take(const std::string& directory);

  DirectoryLock(DirectoryLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  DirectoryLock& operator=(DirectoryLock&&) = delete;
  ~DirectoryLock();

 private:
  explicit DirectoryLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace ballast
