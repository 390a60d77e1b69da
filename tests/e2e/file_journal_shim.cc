// Preloaded into a daemon: what it does to files below FILE_JOURNAL_FOLDER goes into FILE_JOURNAL, a line
// each, in the order in which it happens over all processes: "begin|end fsync|write|mkdir|rename PATH [TO]".
// What is done is done as without it, and an error is no "end".
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>

namespace {

const std::string& Folder() {
  static const std::string folder = [] {
    const char* path = getenv("FILE_JOURNAL_FOLDER");
    if (path == nullptr) abort();  // a journal of nothing would prove nothing
    return std::string(path);
  }();
  return folder;
}

bool IsWatched(const std::string& path) { return path.rfind(Folder(), 0) == 0; }

// One append is one write: lines of several processes do not mix.
void Note(const std::string& line) {
  static const int journal = [] {
    const char* path = getenv("FILE_JOURNAL");
    const int file = path == nullptr ? -1 : open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0) abort();
    return file;
  }();
  const int error = errno;
  const std::string text = line + "\n";
  if (syscall(SYS_write, journal, text.data(), text.size()) != static_cast<ssize_t>(text.size())) abort();
  errno = error;
}

std::string PathOf(int descriptor) {
  const int error = errno;
  char path[4096];
  const ssize_t bytes = readlink(("/proc/self/fd/" + std::to_string(descriptor)).c_str(), path, sizeof path);
  errno = error;
  return bytes <= 0 ? "" : std::string(path, static_cast<size_t>(bytes));
}

template <class Function>
Function Real(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

// Calls `real`, with a line before and, when it worked, one behind.
template <class Call>
auto Noted(bool watched, const std::string& what, const Call& real) {
  if (watched) Note("begin " + what);
  const auto result = real();
  if (watched && result >= 0) Note("end " + what);
  return result;
}

}  // namespace

extern "C" int fsync(int descriptor) {
  static const auto real = Real<int (*)(int)>("fsync");
  const std::string path = PathOf(descriptor);
  return Noted(IsWatched(path), "fsync " + path, [&] { return real(descriptor); });
}

extern "C" ssize_t write(int descriptor, const void* data, size_t bytes) {
  static const auto real = Real<ssize_t (*)(int, const void*, size_t)>("write");
  const std::string path = PathOf(descriptor);
  return Noted(IsWatched(path), "write " + path, [&] { return real(descriptor, data, bytes); });
}

extern "C" int mkdir(const char* path, mode_t mode) noexcept {
  static const auto real = Real<int (*)(const char*, mode_t)>("mkdir");
  return Noted(IsWatched(path), std::string("mkdir ") + path, [&] { return real(path, mode); });
}

extern "C" int rename(const char* from, const char* to) noexcept {
  static const auto real = Real<int (*)(const char*, const char*)>("rename");
  return Noted(IsWatched(to), std::string("rename ") + from + " " + to, [&] { return real(from, to); });
}
