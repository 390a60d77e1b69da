// Exponential back-off with full jitter: after a restart of the coordinator its workers come back spread out.
// (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.) Pure.
#pragma once

#include <algorithm>

#include "base/clock.h"
#include "base/rng.h"

namespace ballast {

class Backoff {
 public:
  Backoff(Duration first, Duration longest, uint64_t seed) : first_(first), longest_(longest), rng_(seed) {}

  // How long to wait before the next attempt: uniform in [0, min(longest, first * 2^attempts)).
  Duration Next() {
    Duration bound = std::min(longest_, first_ * (int64_t{1} << std::min(attempts_, 20)));
    ++attempts_;
    return std::chrono::duration_cast<Duration>(bound * rng_.Uniform());
  }
  // An attempt worked.
  void Reset() { attempts_ = 0; }
  int attempts() const { return attempts_; }

 private:
  const Duration first_;
  const Duration longest_;
  Rng rng_;
  int attempts_ = 0;
};

}  // namespace ballast
