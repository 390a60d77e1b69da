#include "ctl/read_array.h"

#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace ballast {
namespace {

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

absl::StatusOr<std::string> ReadWholeFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat(path, ": cannot be opened"));
  std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (file.bad()) return absl::UnavailableError(absl::StrCat(path, ": cannot be read"));
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
