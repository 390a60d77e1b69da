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

// [layer], from choices [layer][token][k] or [token][k].
absl::StatusOr<std::vector<CoactivationMatrix>> PairsOf(const NpyArray& array, int experts) {
  const std::vector<int64_t>& shape = array.shape();
  if (shape.size() != 2 && shape.size() != 3) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tokens: found ", shape.size(), " dimensions, allowed is [layer][token][k] or [token][k]"));
  }
  const int64_t layers = shape.size() == 3 ? shape[0] : 1;
  const int64_t tokens = shape[shape.size() - 2], k = shape.back();
  if (layers == 0) return absl::InvalidArgumentError("tokens: found 0 layers, allowed is 1 or more");
  if (tokens == 0 || k < 2 || k > experts) {
    return absl::InvalidArgumentError(absl::StrCat("tokens: found ", tokens, " tokens with ", k,
                                                   " experts each, allowed is 1 or more with 2..", experts));
  }
  std::vector<CoactivationMatrix> pairs;
  for (int64_t l = 0; l < layers; ++l) {
    std::vector<std::vector<int>> choices(static_cast<size_t>(tokens));
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t i = 0; i < k; ++i) {
        BALLAST_ASSIGN_OR_RETURN(const int64_t expert, array.At((l * tokens + t) * k + i));
        // What does not fit an int is out of any range.
        choices[static_cast<size_t>(t)].push_back(
            expert < 0 || expert > INT32_MAX ? -1 : static_cast<int>(expert));
      }
    }
    absl::StatusOr<CoactivationMatrix> of_layer = CountPairs(choices, experts);
    if (!of_layer.ok()) {
      return absl::InvalidArgumentError(shape.size() == 3
                                            ? absl::StrCat("layer ", l, ", ", of_layer.status().message())
                                            : std::string(of_layer.status().message()));
    }
    pairs.push_back(*std::move(of_layer));
  }
  return pairs;
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

absl::StatusOr<std::vector<CoactivationMatrix>> ReadPairs(const std::string& path, int experts) {
  BALLAST_ASSIGN_OR_RETURN(const NpyArray tokens, ReadArray(path));
  absl::StatusOr<std::vector<CoactivationMatrix>> pairs = PairsOf(tokens, experts);
  if (!pairs.ok()) return AtFile(path, pairs.status());
  return pairs;
}

absl::Status AtFile(const std::string& path, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(path, ": ", std::string(status.message())));
}

}  // namespace ballast
