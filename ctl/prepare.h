// Text files -> Megatron's indexed format, byte by byte: a byte's value is its token and 256 ends a document.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace ballast {

struct PrepareRequest {
  std::string prefix;  // -> <prefix>.bin and <prefix>.idx; the folder is made when it is not there
  std::vector<std::string> paths;  // files and folders
  // Called now and then with the bytes read so far and the bytes of all files.
  std::function<void(int64_t done, int64_t total)> progress;
};

struct PrepareSummary {
  int64_t documents = 0;   // files written
  int64_t tokens = 0;      // with the ends of documents
  int64_t symlinks = 0;    // skipped, as the counts below
  int64_t binary = 0;      // files with a zero byte
  int64_t duplicates = 0;  // files with the content (by SHA-256) of an earlier one
  int64_t empty = 0;
  int64_t special = 0;  // neither file nor folder
};

// Files are taken in the order of `paths`; those of a folder and its subfolders in the order of their names'
// bytes, so that the result does not depend on the file system. Symbolic links inside folders are skipped;
// one that is named in `paths` is followed. Errors: InvalidArgument for a path that is not there, an output
// among the inputs, a file of 2^31 bytes or more or when nothing is left to write; else the system's error
// with the path. After an error the old output, if any, is still there.
absl::StatusOr<PrepareSummary> PrepareData(const PrepareRequest& request);

}  // namespace ballast
