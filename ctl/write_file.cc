#include "ctl/write_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace ballast {

absl::Status WriteFileByRename(const std::string& path, const std::string& content, mode_t mode) {
  std::string temporary = absl::StrCat(path, ".", getpid(), ".tmp");
  auto fail = [&](const char* what) {
    absl::Status status = absl::InternalError(absl::StrCat(path, ": ", what, ": ", std::strerror(errno)));
    unlink(temporary.c_str());
    return status;
  };
  unlink(temporary.c_str());
  int file = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (file < 0) return fail("cannot create");
  size_t written = 0;
  while (written < content.size()) {
    ssize_t n = write(file, content.data() + written, content.size() - written);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;
    written += static_cast<size_t>(n);
  }
  bool ok = written == content.size() && fchmod(file, mode) == 0 && fsync(file) == 0;
  int saved = errno;
  close(file);
  errno = saved;
  if (!ok) return fail("cannot write");
  if (rename(temporary.c_str(), path.c_str()) != 0) return fail("cannot rename");
  return absl::OkStatus();
}

}  // namespace ballast
