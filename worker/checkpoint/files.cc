#include "worker/checkpoint/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"

namespace ballast {
namespace {

constexpr size_t kPiece = size_t{4} << 20;  // between two looks at `cancel`

// Closes at the end; Close reports what only closing finds.
class File {
 public:
  explicit File(int descriptor) : descriptor_(descriptor) {}
  ~File() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int get() const { return descriptor_; }
  int Close() { return close(std::exchange(descriptor_, -1)); }

 private:
  int descriptor_;
};

class Digest256 {
 public:
  Digest256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    BALLAST_CHECK(context_ != nullptr && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
  }
  void Add(const void* data, size_t bytes) {
    BALLAST_CHECK(EVP_DigestUpdate(context_.get(), data, bytes) == 1);
  }
  std::string Take() {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int bytes = 0;
    BALLAST_CHECK(EVP_DigestFinal_ex(context_.get(), digest, &bytes) == 1);
    return absl::BytesToHexString(absl::string_view(reinterpret_cast<char*>(digest), bytes));
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

absl::Status SyncDirectory(const std::string& path) {
  File directory(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0) return FileError(errno, "open", path);
  if (fsync(directory.get()) != 0) return FileError(errno, "fsync", path);
  return absl::OkStatus();
}

std::string Parent(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

absl::StatusOr<WrittenFile> WriteTemporary(const std::string& path,
                                           const std::vector<std::span<const char>>& pieces,
                                           const std::atomic<bool>* cancel) {
  File file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (file.get() < 0) return FileError(errno, "create", path);
  WrittenFile written;
  Digest256 digest;
  for (std::span<const char> piece : pieces) {
    while (!piece.empty()) {
      if (cancel != nullptr && cancel->load()) return absl::AbortedError(absl::StrCat(path, ": given up"));
      const ssize_t bytes = write(file.get(), piece.data(), std::min(piece.size(), kPiece));
      if (bytes < 0 && errno == EINTR) continue;
      if (bytes < 0) return FileError(errno, "write", path);
      digest.Add(piece.data(), static_cast<size_t>(bytes));
      written.bytes += bytes;
      piece = piece.subspan(static_cast<size_t>(bytes));
    }
  }
  if (fsync(file.get()) != 0) return FileError(errno, "fsync", path);
  if (file.Close() != 0) return FileError(errno, "close", path);
  written.sha256 = digest.Take();
  return written;
}

}  // namespace

absl::Status FileError(int error, const std::string& what, const std::string& path) {
  const std::string text = absl::StrCat(path, ": ", what, ": ", std::strerror(error));
  switch (error) {
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(text);
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(text);
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError(text);
    default:
      return absl::UnavailableError(text);
  }
}

absl::Status MakeDirectories(const std::string& path) {
  if (mkdir(path.c_str(), 0755) == 0) return SyncDirectory(Parent(path));
  if (errno == EEXIST) return absl::OkStatus();
  if (errno != ENOENT || Parent(path) == path) return FileError(errno, "mkdir", path);
  BALLAST_RETURN_IF_ERROR(MakeDirectories(Parent(path)));
  if (mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return FileError(errno, "mkdir", path);
  return SyncDirectory(Parent(path));
}

absl::StatusOr<std::vector<std::string>> ListDirectory(const std::string& path) {
  std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(path.c_str()), closedir);
  if (directory == nullptr) return FileError(errno, "open", path);
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* entry = readdir(directory.get());
    if (entry == nullptr && errno != 0) return FileError(errno, "read", path);
    if (entry == nullptr) break;
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<WrittenFile> WriteDurably(const std::string& path,
                                         const std::vector<std::span<const char>>& pieces,
                                         const std::atomic<bool>* cancel) {
  // Two processes may write the same file (a manifest that is said again): each has a temporary one.
  const std::string temporary = absl::StrCat(path, ".", getpid(), ".tmp");
  absl::StatusOr<WrittenFile> written = WriteTemporary(temporary, pieces, cancel);
  if (written.ok() && rename(temporary.c_str(), path.c_str()) != 0)
    written = FileError(errno, "rename to", path);
  if (!written.ok()) {
    unlink(temporary.c_str());
    return written;
  }
  BALLAST_RETURN_IF_ERROR(SyncDirectory(Parent(path)));
  return written;
}

absl::StatusOr<std::string> ReadWhole(const std::string& path, size_t bytes_max) {
  File file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return FileError(errno, "open", path);
  std::string text;
  std::vector<char> piece(1 << 16);
  while (true) {
    const ssize_t bytes = read(file.get(), piece.data(), piece.size());
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0) return FileError(errno, "read", path);
    if (bytes == 0) return text;
    text.append(piece.data(), static_cast<size_t>(bytes));
    if (text.size() > bytes_max)
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": larger than the allowed ", bytes_max, " bytes"));
  }
}

std::string Sha256(std::span<const unsigned char> bytes) {
  Digest256 digest;
  digest.Add(bytes.data(), bytes.size());
  return digest.Take();
}

}  // namespace ballast
