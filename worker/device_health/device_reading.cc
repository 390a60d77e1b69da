#include "worker/device_health/device_reading.h"

namespace ballast {
namespace {

// NVML's constants, which are part of its interface.
constexpr uint64_t kPowerCap = 0x04;
constexpr uint64_t kHardware = 0x08;
constexpr uint64_t kSyncBoost = 0x10;
constexpr uint64_t kSoftwareThermal = 0x20;
constexpr uint64_t kHardwareThermal = 0x40;
constexpr uint64_t kPowerBrake = 0x80;

}  // namespace

std::array<bool, kThrottleReasons.size()> ThrottledBy(uint64_t bits) {
  constexpr std::array<uint64_t, kThrottleReasons.size()> kMasks = {
      kPowerCap, kHardware, kSoftwareThermal | kHardwareThermal, kPowerBrake, kSyncBoost};
  std::array<bool, kThrottleReasons.size()> throttled{};
  for (size_t i = 0; i < kMasks.size(); ++i) throttled[i] = (bits & kMasks[i]) != 0;
  return throttled;
}

}  // namespace ballast
