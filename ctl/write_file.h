// Files that appear whole or not at all.
#pragma once

#include <sys/types.h>

#include <string>

#include "absl/status/status.h"

namespace ballast {

// Writes a temporary file of that mode beside `path`, makes it durable and renames it. The mode holds from
// the first byte. Errors name the path.
absl::Status WriteFileByRename(const std::string& path, const std::string& content, mode_t mode);

}  // namespace ballast
