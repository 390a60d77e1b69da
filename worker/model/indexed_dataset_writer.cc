#include <cerrno>
#include <cstdio>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "worker/model/indexed_dataset.h"
#include "worker/model/indexed_format.h"

namespace ballast {
namespace {

// A file that takes its name only when it is complete; else its temporary one is removed.
class PendingFile {
 public:
  PendingFile(std::string path) : path_(std::move(path)), temporary_(path_ + ".partial") {}
  ~PendingFile() {
    if (file_ == nullptr) return;
    std::fclose(file_);
    std::remove(temporary_.c_str());
  }
  PendingFile(const PendingFile&) = delete;
  PendingFile& operator=(const PendingFile&) = delete;

  absl::Status Create() {
    file_ = std::fopen(temporary_.c_str(), "wb");
    if (file_ == nullptr) return absl::ErrnoToStatus(errno, absl::StrCat(temporary_, ": cannot create"));
    return absl::OkStatus();
  }
  absl::Status Write(const void* data, size_t bytes) {
    if (bytes == 0 || std::fwrite(data, 1, bytes, file_) == bytes) return absl::OkStatus();
    return absl::ErrnoToStatus(errno, absl::StrCat(temporary_, ": cannot write"));
  }
  // Everything is on its way to the disk; the file keeps its temporary name.
  absl::Status Flush() {
    if (std::fflush(file_) == 0) return absl::OkStatus();
    return absl::ErrnoToStatus(errno, absl::StrCat(temporary_, ": cannot write"));
  }
  absl::Status Publish() {
    if (std::rename(temporary_.c_str(), path_.c_str()) != 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat(path_, ": cannot put in place"));
    }
    std::fclose(std::exchange(file_, nullptr));
    return absl::OkStatus();
  }

 private:
  const std::string path_;
  const std::string temporary_;
  std::FILE* file_ = nullptr;
};

}  // namespace

struct IndexedDatasetWriter::State {
  explicit State(const std::string& prefix) : bin(prefix + ".bin"), idx(prefix + ".idx") {}
  PendingFile bin;
  PendingFile idx;
  std::vector<int32_t> lengths;
  int64_t tokens = 0;
};

absl::StatusOr<IndexedDatasetWriter> IndexedDatasetWriter::Create(const std::string& prefix) {
  auto state = std::make_unique<State>(prefix);
  BALLAST_RETURN_IF_ERROR(state->bin.Create());
  BALLAST_RETURN_IF_ERROR(state->idx.Create());
  return IndexedDatasetWriter(std::move(state));
}

IndexedDatasetWriter::IndexedDatasetWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
IndexedDatasetWriter::~IndexedDatasetWriter() = default;
IndexedDatasetWriter::IndexedDatasetWriter(IndexedDatasetWriter&&) noexcept = default;
IndexedDatasetWriter& IndexedDatasetWriter::operator=(IndexedDatasetWriter&&) noexcept = default;

int64_t IndexedDatasetWriter::documents() const { return static_cast<int64_t>(state_->lengths.size()); }
int64_t IndexedDatasetWriter::tokens() const { return state_->tokens; }

absl::Status IndexedDatasetWriter::AddDocument(std::span<const uint16_t> tokens) {
  if (tokens.empty() || tokens.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    return absl::InvalidArgumentError(absl::StrCat("document ", documents(), ": found ", tokens.size(),
                                                   " tokens, allowed 1..",
                                                   std::numeric_limits<int32_t>::max()));
  }
  BALLAST_RETURN_IF_ERROR(state_->bin.Write(tokens.data(), tokens.size_bytes()));
  state_->lengths.push_back(static_cast<int32_t>(tokens.size()));
  state_->tokens += static_cast<int64_t>(tokens.size());
  return absl::OkStatus();
}

absl::Status IndexedDatasetWriter::Finish() {
  const uint64_t sequences = state_->lengths.size();
  std::string index(indexed::kMagic, sizeof indexed::kMagic);
  auto append = [&index](auto value) { index.append(reinterpret_cast<const char*>(&value), sizeof value); };
  append(indexed::kVersion);
  append(indexed::kU16);
  append(sequences);
  append(sequences + 1);
  for (int32_t length : state_->lengths) append(length);
  int64_t offset = 0;
  for (int32_t length : state_->lengths) {
    append(offset);
    offset += int64_t{length} * int64_t{sizeof(uint16_t)};
  }
  for (uint64_t i = 0; i <= sequences; ++i) append(static_cast<int64_t>(i));

  BALLAST_RETURN_IF_ERROR(state_->idx.Write(index.data(), index.size()));
  BALLAST_RETURN_IF_ERROR(state_->bin.Flush());
  BALLAST_RETURN_IF_ERROR(state_->idx.Flush());
  BALLAST_RETURN_IF_ERROR(state_->bin.Publish());
  return state_->idx.Publish();
}

}  // namespace ballast
