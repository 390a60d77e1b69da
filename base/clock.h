// Time passed in, so that the simulator can hand out its own.
#pragma once

#include <chrono>

namespace ballast {

using Duration = std::chrono::nanoseconds;
// A point on a monotonic clock. Its zero is arbitrary: only differences mean something.
using Time = std::chrono::time_point<std::chrono::steady_clock, Duration>;

inline double ToSeconds(Duration d) { return std::chrono::duration<double>(d).count(); }
inline Duration Seconds(double s) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(s));
}

// All methods may be called from any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Time Now() const = 0;
};

class SteadyClock final : public Clock {
 public:
  Time Now() const override { return std::chrono::time_point_cast<Duration>(std::chrono::steady_clock::now()); }
};

}  // namespace ballast
