// bf16: the upper half of a float, rounded to nearest even.
#include <bit>
#include <cmath>

#include "worker/backend/cpu/kernels.h"

namespace ballast::cpu {
namespace {

uint16_t Round(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return static_cast<uint16_t>((bits >> 16) | 0x40);  // stays a NaN
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// A double rounds to odd on its way through float (truncated, and the last bit set if anything was lost), so
// that the second rounding sees on which side of a tie it was.
uint16_t Round(double value) {
  float nearest = static_cast<float>(value);
  // Beyond the largest float is beyond the largest bf16, too.
  if (!std::isfinite(nearest) || static_cast<double>(nearest) == value) return Round(nearest);
  if (std::abs(static_cast<double>(nearest)) > std::abs(value)) nearest = std::nextafter(nearest, 0.0f);
  return Round(std::bit_cast<float>(std::bit_cast<uint32_t>(nearest) | 1u));
}

}  // namespace

template <class T>
void ToBFloat16(const T* in, int64_t elements, uint16_t* out) {
  for (int64_t i = 0; i < elements; ++i) out[i] = Round(in[i]);
}

template <class T>
void FromBFloat16(const uint16_t* in, int64_t elements, T* out) {
  for (int64_t i = 0; i < elements; ++i) out[i] = std::bit_cast<float>(static_cast<uint32_t>(in[i]) << 16);
}

template void ToBFloat16(const float*, int64_t, uint16_t*);
template void ToBFloat16(const double*, int64_t, uint16_t*);
template void FromBFloat16(const uint16_t*, int64_t, float*);
template void FromBFloat16(const uint16_t*, int64_t, double*);

}  // namespace ballast::cpu
