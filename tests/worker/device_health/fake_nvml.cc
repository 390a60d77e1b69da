// A library with NVML's interface and two devices, for its test: the second knows no power and no ECC, as
// GPUs of other kinds do, and nobody knows the SM clock, as an old library.
#include <cstring>

namespace {

constexpr int kNotSupported = 3;
constexpr int kNotFound = 6;
int devices[2];

bool IsFirst(void* handle) { return handle == &devices[0]; }

}  // namespace

#define BALLAST_EXPORTED extern "C" __attribute__((visibility("default")))

BALLAST_EXPORTED int nvmlInit_v2() { return 0; }
BALLAST_EXPORTED const char* nvmlErrorString(int code) { return code == kNotFound ? "Not Found" : "Other"; }
BALLAST_EXPORTED int nvmlDeviceGetHandleByPciBusId_v2(const char* id, void** handle) {
  if (std::strcmp(id, "00000000:1B:00.0") == 0) return *handle = &devices[0], 0;
  if (std::strcmp(id, "00000000:43:00.0") == 0) return *handle = &devices[1], 0;
  return kNotFound;
}
BALLAST_EXPORTED int nvmlDeviceGetPowerUsage(void* handle, unsigned* milliwatts) {
  *milliwatts = 412500;
  return IsFirst(handle) ? 0 : kNotSupported;
}
BALLAST_EXPORTED int nvmlDeviceGetTemperature(void* handle, int sensor, unsigned* celsius) {
  *celsius = IsFirst(handle) ? 61 : 38;
  return sensor == 0 ? 0 : kNotSupported;
}
BALLAST_EXPORTED int nvmlDeviceGetUtilizationRates(void*, unsigned* gpu_and_memory) {
  gpu_and_memory[0] = 97;
  gpu_and_memory[1] = 12;
  return 0;
}
BALLAST_EXPORTED int nvmlDeviceGetMemoryInfo(void* handle, unsigned long long* total_free_used) {
  total_free_used[0] = 1000;
  total_free_used[1] = IsFirst(handle) ? 300 : 1000;
  total_free_used[2] = IsFirst(handle) ? 700 : 0;
  return 0;
}
BALLAST_EXPORTED int nvmlDeviceGetCurrentClocksThrottleReasons(void* handle, unsigned long long* reasons) {
  *reasons = IsFirst(handle) ? 0x40 | 0x04 : 0x01;
  return 0;
}
BALLAST_EXPORTED int nvmlDeviceGetTotalEccErrors(void* handle, int type, int since,
                                                 unsigned long long* count) {
  *count = 3;
  return IsFirst(handle) && type == 1 && since == 0 ? 0 : kNotSupported;
}
