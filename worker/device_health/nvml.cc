#include "worker/device_health/nvml.h"

#include <dlfcn.h>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace ballast {
namespace {

// NVML's binary interface, as far as it is used here; its header comes with the driver's packages alone.
using Handle = void*;
constexpr int kSuccess = 0;
constexpr int kTemperatureOfGpu = 0;
constexpr int kClockOfSm = 1;
constexpr int kUncorrectedErrors = 1;
constexpr int kSinceDriverLoad = 0;
struct Utilization {
  unsigned gpu = 0, memory = 0;  // percent
};
struct Memory {
  unsigned long long total = 0, free = 0, used = 0;
};

struct Functions {
  int (*init)() = nullptr;
  const char* (*error_string)(int) = nullptr;
  int (*by_bus_id)(const char*, Handle*) = nullptr;
  // Optional.
  int (*power)(Handle, unsigned* milliwatts) = nullptr;
  int (*temperature)(Handle, int sensor, unsigned*) = nullptr;
  int (*clock)(Handle, int which, unsigned* megahertz) = nullptr;
  int (*utilization)(Handle, Utilization*) = nullptr;
  int (*memory)(Handle, Memory*) = nullptr;
  int (*throttle_reasons)(Handle, unsigned long long*) = nullptr;
  int (*ecc_errors)(Handle, int type, int since, unsigned long long*) = nullptr;
};

template <class Function>
bool Find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

class LoadedNvml final : public Nvml {
 public:
  LoadedNvml(const Functions& functions, std::vector<std::pair<int, Handle>> devices)
      : nvml_(functions), devices_(std::move(devices)) {}

  std::vector<DeviceReading> Read() const override {
    std::vector<DeviceReading> readings;
    for (const auto& [number, handle] : devices_) readings.push_back(ReadOne(number, handle));
    return readings;
  }

 private:
  DeviceReading ReadOne(int number, Handle handle) const {
    DeviceReading reading;
    reading.device = number;
    unsigned value = 0;
    unsigned long long wide = 0;
    if (nvml_.power != nullptr && nvml_.power(handle, &value) == kSuccess) {
      reading.power_watts = value / 1e3;
    }
    if (nvml_.temperature != nullptr && nvml_.temperature(handle, kTemperatureOfGpu, &value) == kSuccess) {
      reading.temperature_celsius = value;
    }
    if (nvml_.clock != nullptr && nvml_.clock(handle, kClockOfSm, &value) == kSuccess) {
      reading.sm_clock_hertz = value * 1e6;
    }
    Utilization utilization;
    if (nvml_.utilization != nullptr && nvml_.utilization(handle, &utilization) == kSuccess) {
      reading.utilization = utilization.gpu / 1e2;
    }
    Memory memory;
    if (nvml_.memory != nullptr && nvml_.memory(handle, &memory) == kSuccess) {
      reading.memory_used_bytes = static_cast<double>(memory.used);
    }
    if (nvml_.throttle_reasons != nullptr && nvml_.throttle_reasons(handle, &wide) == kSuccess) {
      reading.throttle_bits = wide;
    }
    if (nvml_.ecc_errors != nullptr &&
        nvml_.ecc_errors(handle, kUncorrectedErrors, kSinceDriverLoad, &wide) == kSuccess) {
      reading.ecc_uncorrected = static_cast<double>(wide);
    }
    return reading;
  }

  const Functions nvml_;
  const std::vector<std::pair<int, Handle>> devices_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Nvml>> Nvml::Open(const std::vector<NvmlDevice>& devices,
                                                 const std::string& library) {
  void* loaded = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (loaded == nullptr) return absl::NotFoundError(dlerror());
  Functions f;
  if (!Find(loaded, "nvmlInit_v2", f.init) || !Find(loaded, "nvmlErrorString", f.error_string) ||
      !Find(loaded, "nvmlDeviceGetHandleByPciBusId_v2", f.by_bus_id)) {
    return absl::UnavailableError(absl::StrCat(library, " is not NVML: ", dlerror()));
  }
  Find(loaded, "nvmlDeviceGetPowerUsage", f.power);
  Find(loaded, "nvmlDeviceGetTemperature", f.temperature);
  Find(loaded, "nvmlDeviceGetClockInfo", f.clock);
  Find(loaded, "nvmlDeviceGetUtilizationRates", f.utilization);
  Find(loaded, "nvmlDeviceGetMemoryInfo", f.memory);
  Find(loaded, "nvmlDeviceGetCurrentClocksThrottleReasons", f.throttle_reasons);
  Find(loaded, "nvmlDeviceGetTotalEccErrors", f.ecc_errors);
  if (const int failed = f.init(); failed != kSuccess) {
    return absl::UnavailableError(absl::StrCat("NVML does not start: ", f.error_string(failed)));
  }
  std::vector<std::pair<int, Handle>> handles;
  for (const NvmlDevice& device : devices) {
    Handle handle = nullptr;
    if (const int failed = f.by_bus_id(device.pci_bus_id.c_str(), &handle); failed != kSuccess) {
      return absl::UnavailableError(
          absl::StrCat("NVML has no device ", device.pci_bus_id, ": ", f.error_string(failed)));
    }
    handles.push_back({device.number, handle});
  }
  return std::make_unique<LoadedNvml>(f, std::move(handles));
}

}  // namespace ballast
