// What a thread has computed so far, for benchmarks: other load matters less than to a clock.
#pragma once

#include <time.h>

#include "base/check.h"

namespace ballast {

// Of CPU time of the calling thread.
inline double Milliseconds() {
  timespec now;
  BALLAST_CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
}

}  // namespace ballast
