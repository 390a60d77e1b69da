#include "ctl/read_array.h"

#include <filesystem>
#include <fstream>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace ballast {
namespace {

const char* KindOf(std::filesystem::file_type type) {
  switch (type) {
    case std::filesystem::file_type::directory:
      return "a folder";
    case std::filesystem::file_type::fifo:
      return "a pipe";
    case std::filesystem::file_type::socket:
      return "a socket";
    default:
      return "a device";
  }
}

// choices[token][k] from an array of that shape.
absl::StatusOr<CoactivationMatrix> PairsOf(const NpyArray& array, int experts) {
  if (array.shape().size() != 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokens: found ", array.shape().size(), " dimensions, allowed is [token][k]"));
  }
  std::vector<std::vector<int>> choices;
  const int64_t k = array.shape()[1];
  for (int64_t t = 0; t < array.shape()[0]; ++t) {
    choices.emplace_back();
    for (int64_t i = 0; i < k; ++i) {
      BALLAST_ASSIGN_OR_RETURN(const int64_t expert, array.At(t * k + i));
      // What does not fit an int is out of any range.
      choices.back().push_back(expert < 0 || expert > INT32_MAX ? -1 : static_cast<int>(expert));
    }
  }
  return CountPairs(choices, experts);
}

}  // namespace

absl::Status CheckRegularFile(const std::string& path) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": cannot be opened: ", error.message()));
  }
  if (!std::filesystem::is_regular_file(status)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": found ", KindOf(status.type()), ", allowed is a regular file"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadWholeFile(const std::string& path) {
  BALLAST_RETURN_IF_ERROR(CheckRegularFile(path));
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::InvalidArgumentError(absl::StrCat(path, ": cannot be opened"));
  std::string bytes;
  // read() tells a failing device by the stream's state, where an iterator would throw.
  std::vector<char> chunk(1 << 16);
  while (file) {
    file.read(chunk.data(), static_cast<std::streamsize>(chunk.size()));
    bytes.append(chunk.data(), static_cast<size_t>(file.gcount()));
  }
  if (file.bad()) return absl::InvalidArgumentError(absl::StrCat(path, ": cannot be read"));
  return bytes;
}

absl::StatusOr<NpyArray> ReadArray(const std::string& path) {
  BALLAST_ASSIGN_OR_RETURN(std::string bytes, ReadWholeFile(path));
  absl::StatusOr<NpyArray> array = NpyArray::Parse(std::move(bytes));
  if (!array.ok()) return AtFile(path, array.status());
  return array;
}

absl::StatusOr<CoactivationMatrix> ReadPairs(const std::string& path, int experts) {
  BALLAST_ASSIGN_OR_RETURN(const NpyArray tokens, ReadArray(path));
  absl::StatusOr<CoactivationMatrix> pairs = PairsOf(tokens, experts);
  if (!pairs.ok()) return AtFile(path, pairs.status());
  return pairs;
}

absl::Status AtFile(const std::string& path, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(path, ": ", std::string(status.message())));
}

}  // namespace ballast
