#include "coordinator/directory_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace ballast {

absl::StatusOr<DirectoryLock> DirectoryLock::Take(const std::string& directory) {
  std::string path = absl::StrCat(directory, "/lock");
  int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return absl::UnavailableError(absl::StrCat(path, ": ", std::strerror(errno)));
  DirectoryLock lock(fd);
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return absl::UnavailableError(absl::StrCat(path, ": ", std::strerror(errno)));
    char holder[32] = {};
    ssize_t got = pread(fd, holder, sizeof holder - 1, 0);
    return absl::FailedPreconditionError(
        absl::StrCat("data directory ", directory, " is used by another coordinator",
                     got > 0 ? absl::StrCat(" (process ", holder, ")") : std::string(),
                     "; stop that one or give this one another --data-dir"));
  }
  std::string self = std::to_string(getpid());
  if (ftruncate(fd, 0) != 0 || pwrite(fd, self.data(), self.size(), 0) != static_cast<ssize_t>(self.size())) {
    return absl::UnavailableError(absl::StrCat(path, ": ", std::strerror(errno)));
  }
  return lock;
}

DirectoryLock::~DirectoryLock() {
  if (fd_ >= 0) close(fd_);
}

}  // namespace ballast
