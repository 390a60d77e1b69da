// Rotary position embedding, in place.
#pragma once

#include <cstdint>

#include "kernels/types.h"

namespace ballast::kernels {

// x [sequences * length, heads * head_size].
struct RopeShape {
  int64_t sequences = 0;
  int64_t length = 0;
  int heads = 0;
  int head_size = 0;  // even
};

template <class T>
void Rope(const RopeShape& shape, double theta, bool backward, T* x, Stream stream);

}  // namespace ballast::kernels
