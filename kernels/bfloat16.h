// bf16 on the wire: the compute type to and from it, rounded to nearest even.
#pragma once

#include <cstdint>

#include "kernels/types.h"

namespace ballast::kernels {

void ToBFloat16(int64_t elements, const float* in, BFloat16* out, Stream stream);
void FromBFloat16(int64_t elements, const BFloat16* in, float* out, Stream stream);

}  // namespace ballast::kernels
