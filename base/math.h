// Integer arithmetic on sizes: never a bare '/' where a remainder would matter.
#pragma once

#include <cstdint>

#include "base/check.h"

namespace ballast {

// a / b rounded up. Requires a >= 0, b > 0.
constexpr int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// a / b where b must divide a.
inline int64_t DivExact(int64_t a, int64_t b) {
  BALLAST_CHECK(b != 0 && a % b == 0) << a << " is no multiple of " << b;
  return a / b;
}

// Begin of part `index` when `total` items are cut into `parts` contiguous parts whose sizes differ by at most one.
// Part i is [PartBegin(total, parts, i), PartBegin(total, parts, i + 1)).
constexpr int64_t PartBegin(int64_t total, int64_t parts, int64_t index) { return total * index / parts; }

}  // namespace ballast
