// The StateStore in one SQLite file: for a single coordinator with a disk of its own.
//
// Write-ahead log with synchronous=FULL: a Commit that answered OK survives the loss of power. A lock file
// keeps a second coordinator off the directory; should that fail (a file system without locks), the term
// still fences it.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/store.h"

namespace ballast {

// Opens or creates <directory>/ballast.db; the directory too, one level. Errors name the file:
// FailedPrecondition when another coordinator holds the directory, or when a newer program has written the
// file.
absl::StatusOr<std::unique_ptr<StateStore>> OpenSqliteStore(const std::string& directory);

}  // namespace ballast
