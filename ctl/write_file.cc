#include "ctl/write_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace ballast {
namespace {

absl::Status Error(const std::string& path, const char* what) {
  return absl::InternalError(absl::StrCat(path, ": ", what, ": ", std::strerror(errno)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<FileByRename>> FileByRename::Create(const std::string& path, mode_t mode) {
  std::string temporary = absl::StrCat(path, ".", getpid(), ".tmp");
  unlink(temporary.c_str());
  const int file = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (file < 0) return Error(path, "cannot create");
  return std::unique_ptr<FileByRename>(new FileByRename(path, std::move(temporary), file, mode));
}

FileByRename::FileByRename(std::string path, std::string temporary, int file, mode_t mode)
    : path_(std::move(path)), temporary_(std::move(temporary)), mode_(mode), file_(file) {}

FileByRename::~FileByRename() {
  if (file_ >= 0) close(file_);
  if (!done_) unlink(temporary_.c_str());
}

absl::Status FileByRename::Failed(const char* what) const { return Error(path_, what); }

absl::Status FileByRename::Append(const std::string& content) {
  size_t written = 0;
  while (written < content.size()) {
    const ssize_t n = write(file_, content.data() + written, content.size() - written);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Failed("cannot write");
    written += static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

absl::Status FileByRename::Finish() {
  if (fchmod(file_, mode_) != 0 || fsync(file_) != 0) return Failed("cannot write");
  close(std::exchange(file_, -1));
  if (rename(temporary_.c_str(), path_.c_str()) != 0) return Failed("cannot rename");
  done_ = true;
  return absl::OkStatus();
}

absl::Status WriteFileByRename(const std::string& path, const std::string& content, mode_t mode) {
  BALLAST_ASSIGN_OR_RETURN(const std::unique_ptr<FileByRename> file, FileByRename::Create(path, mode));
  BALLAST_RETURN_IF_ERROR(file->Append(content));
  return file->Finish();
}

}  // namespace ballast
