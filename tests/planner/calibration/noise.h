// Times as machines give them: multiplicative noise, and now and then something in the way.
#pragma once

#include <cmath>

#include "base/rng.h"

namespace ballast::testing {

// 5 % noise, and 3 % of the samples take 2 to 8 times as long.
inline double Noisy(Rng& rng, double time) {
  const double noisy = time * std::exp(0.05 * rng.Normal());
  return rng.Chance(0.03) ? noisy * (2 + 6 * rng.Uniform()) : noisy;
}

}  // namespace ballast::testing
