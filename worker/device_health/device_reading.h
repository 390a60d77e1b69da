// DeviceReading: what a device says of its own state at one moment. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ballast {

// A field is empty when the device does not tell it.
struct DeviceReading {
  int device = 0;  // as in --device cuda:N
  std::optional<double> power_watts;
  std::optional<double> temperature_celsius;
  std::optional<double> sm_clock_hertz;
  std::optional<double> utilization;  // 0..1: share of the last moments in which a kernel ran
  std::optional<double> memory_used_bytes;
  std::optional<uint64_t> throttle_bits;  // NVML's nvmlClocksThrottleReason*
  std::optional<double> ecc_uncorrected;  // errors since the driver was loaded
};

// Why clocks are held down; an idle device and clocks that somebody set are no reasons.
inline constexpr std::array<const char*, 5> kThrottleReasons = {"power_cap", "hardware", "thermal",
                                                                "power_brake", "sync_boost"};

// For each of kThrottleReasons whether it is among `bits`.
std::array<bool, kThrottleReasons.size()> ThrottledBy(uint64_t bits);

}  // namespace ballast
