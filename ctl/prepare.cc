#include "ctl/prepare.h"

#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/model/indexed_dataset.h"

namespace ballast {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kFileBytesMax =
    (int64_t{1} << 31) - 2;  // a sequence's length is an i32, with the end of the document

struct InputFile {
  std::string path;
  int64_t bytes = 0;  // when it was found
};

absl::Status SystemError(const std::string& path, const std::error_code& error) {
  std::string text = absl::StrCat(path, ": ", error.message());
  bool missing = error == std::errc::no_such_file_or_directory;
  return missing ? absl::InvalidArgumentError(text) : absl::InternalError(text);
}

// Finds the files below a folder, in the order of their names' bytes.
class Finder {
 public:
  explicit Finder(PrepareSummary* summary) : summary_(summary) {}

  absl::Status AddArgument(const fs::path& path) {
    std::error_code error;
    fs::file_status status = fs::status(path, error);  // follows a link
    if (!fs::exists(status)) {
      return absl::InvalidArgumentError(
          absl::StrCat(path.string(), ": ", error ? error.message() : "is not there"));
    }
    return Add(path, status);
  }

  std::vector<InputFile> TakeFiles() { return std::move(files_); }

 private:
  absl::Status Add(const fs::path& path, fs::file_status status) {
    if (fs::is_directory(status)) return AddFolder(path);
    if (fs::is_symlink(status)) {
      ++summary_->symlinks;
    } else if (!fs::is_regular_file(status)) {
      ++summary_->special;
    } else {
      std::error_code error;
      auto bytes = static_cast<int64_t>(fs::file_size(path, error));
      if (error) return SystemError(path.string(), error);
      files_.push_back({path.string(), bytes});
    }
    return absl::OkStatus();
  }

  absl::Status AddFolder(const fs::path& folder) {
    std::error_code error;
    std::vector<fs::path> entries;
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
      entries.push_back(it->path());
    }
    if (error) return SystemError(folder.string(), error);
    std::sort(entries.begin(), entries.end(),
              [](const fs::path& a, const fs::path& b) { return a.native() < b.native(); });
    for (const fs::path& entry : entries) {
      fs::file_status status = fs::symlink_status(entry, error);
      if (error) return SystemError(entry.string(), error);
      BALLAST_RETURN_IF_ERROR(Add(entry, status));
    }
    return absl::OkStatus();
  }

  PrepareSummary* summary_;
  std::vector<InputFile> files_;
};

absl::StatusOr<std::string> ReadWhole(const InputFile& input) {
  auto fail = [&] {
    int error = errno;
    return SystemError(input.path, std::error_code(error, std::generic_category()));
  };
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(input.path.c_str(), "rb"), &std::fclose);
  if (file == nullptr) return fail();
  std::string content;
  content.reserve(static_cast<size_t>(std::min(input.bytes, kFileBytesMax)) + 1);
  std::vector<char> buffer(1 << 20);
  while (size_t n = std::fread(buffer.data(), 1, buffer.size(), file.get())) {
    content.append(buffer.data(), n);
    if (static_cast<int64_t>(content.size()) > kFileBytesMax) {
      return absl::InvalidArgumentError(absl::StrCat(input.path, ": found more bytes than the allowed ",
                                                     kFileBytesMax, " of one document"));
    }
  }
  if (std::ferror(file.get())) return fail();
  return content;
}

using Sha256 = std::array<unsigned char, SHA256_DIGEST_LENGTH>;

Sha256 HashOf(const std::string& content) {
  Sha256 hash;
  SHA256(reinterpret_cast<const unsigned char*>(content.data()), content.size(), hash.data());
  return hash;
}

// A run that reads what it writes would feed on itself.
absl::Status CheckOutputsAreNotInputs(const std::string& prefix, const std::vector<InputFile>& files) {
  for (const char* suffix : {".bin", ".idx"}) {
    std::string output = prefix + suffix;
    std::error_code error;
    if (!fs::exists(output, error)) continue;
    for (const InputFile& file : files) {
      if (fs::equivalent(output, file.path, error)) {
        return absl::InvalidArgumentError(absl::StrCat("--out: ", output, " is among the inputs"));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PrepareSummary> PrepareData(const PrepareRequest& request) {
  PrepareSummary summary;
  Finder finder(&summary);
  for (const std::string& path : request.paths) BALLAST_RETURN_IF_ERROR(finder.AddArgument(path));
  const std::vector<InputFile> files = finder.TakeFiles();
  BALLAST_RETURN_IF_ERROR(CheckOutputsAreNotInputs(request.prefix, files));
  int64_t total = 0, done = 0;
  for (const InputFile& file : files) total += file.bytes;

  std::error_code error;
  if (fs::path folder = fs::path(request.prefix).parent_path(); !folder.empty())
    fs::create_directories(folder, error);
  if (error)
    return absl::InvalidArgumentError(absl::StrCat("--out: ", request.prefix, ": ", error.message()));
  BALLAST_ASSIGN_OR_RETURN(IndexedDatasetWriter writer, IndexedDatasetWriter::Create(request.prefix));
  std::set<Sha256> seen;
  std::vector<uint16_t> tokens;
  for (const InputFile& file : files) {
    BALLAST_ASSIGN_OR_RETURN(std::string content, ReadWhole(file));
    done += file.bytes;
    if (content.empty()) {
      ++summary.empty;
    } else if (content.find('\0') != std::string::npos) {
      ++summary.binary;
    } else if (!seen.insert(HashOf(content)).second) {
      ++summary.duplicates;
    } else {
      tokens.clear();
      for (char byte : content) tokens.push_back(static_cast<unsigned char>(byte));
      tokens.push_back(kByteLevelEndOfDocument);
      BALLAST_RETURN_IF_ERROR(writer.AddDocument(tokens));
    }
    if (request.progress) request.progress(done, total);
  }
  summary.documents = writer.documents();
  summary.tokens = writer.tokens();
  if (summary.documents == 0) {
    return absl::InvalidArgumentError(absl::StrCat("found no text in ", files.size(),
                                                   " files: ", summary.binary, " binary, ", summary.empty,
                                                   " empty, ", summary.symlinks, " symbolic links skipped"));
  }
  BALLAST_RETURN_IF_ERROR(writer.Finish());
  return summary;
}

}  // namespace ballast
