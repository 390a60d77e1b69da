// Preloaded into a daemon: what it reads from the wall clock is off by the seconds in a file, which the test
// changes while the daemon runs. The monotonic clock stays as it is, as when people or NTP set the time.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

namespace {

// The file holds one number; mapped, so that reading it costs no system call.
const volatile int64_t* Offset() {
  static const volatile int64_t* const offset = []() -> const volatile int64_t* {
    const char* path = getenv("WALL_CLOCK_OFFSET_FILE");
    const int file = path == nullptr ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) abort();  // a test that shifts nothing would prove nothing
    void* mapped = mmap(nullptr, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED) abort();
    close(file);
    return static_cast<const volatile int64_t*>(mapped);
  }
  ();
  return offset;
}

}  // namespace

extern "C" int clock_gettime(clockid_t clock, timespec* now) noexcept {
  using Function = int (*)(clockid_t, timespec*);
  static const Function real = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "clock_gettime"));
  const int result = real(clock, now);
  if (clock == CLOCK_REALTIME) now->tv_sec += *Offset();
  return result;
}

extern "C" int gettimeofday(timeval* now, void*) noexcept {
  timespec time;
  const int result = clock_gettime(CLOCK_REALTIME, &time);
  now->tv_sec = time.tv_sec;
  now->tv_usec = time.tv_nsec / 1000;
  return result;
}

extern "C" time_t time(time_t* now) noexcept {
  timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  if (now != nullptr) *now = time.tv_sec;
  return time.tv_sec;
}
