// A file in memory, read-only.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace ballast {

// Movable; the bytes may be read from any thread while it lives. A file that is shortened while it is mapped
// ends the process (SIGBUS): data files are written once and renamed into place.
class MappedFile {
 public:
  // NotFound, PermissionDenied or InvalidArgument name the path and the system's reason.
  static absl::StatusOr<MappedFile> Open(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const unsigned char> bytes() const { return bytes_; }
  const std::string& path() const { return path_; }

 private:
  MappedFile(std::string path, std::span<const unsigned char> bytes);
  std::string path_;
  std::span<const unsigned char> bytes_;
};

}  // namespace ballast
