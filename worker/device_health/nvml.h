// Nvml: NVIDIA's management library, opened at run time where there is one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/device_health/device_reading.h"

namespace ballast {

inline constexpr char kNvmlLibrary[] = "libnvidia-ml.so.1";

// A device under its number for this program, and where NVML finds it: CUDA_VISIBLE_DEVICES does not renumber
// NVML's.
struct NvmlDevice {
  int number = 0;
  std::string pci_bus_id;  // "00000000:1B:00.0"
};

// The library stays loaded. Methods may be called from any thread.
class Nvml {
 public:
  // NotFound when there is no library; Unavailable, with NVML's own words, when it does not start or has no
  // such device. A function that the library lacks leaves its field of the readings empty.
  static absl::StatusOr<std::unique_ptr<Nvml>> Open(const std::vector<NvmlDevice>& devices,
                                                    const std::string& library = kNvmlLibrary);
  virtual ~Nvml() = default;

  // Of each device, in their order. Takes milliseconds.
  virtual std::vector<DeviceReading> Read() const = 0;
};

}  // namespace ballast
