#include "worker/metrics/device_metrics.h"

#include <optional>
#include <string>

#include "metrics/catalog.h"

namespace ballast {

void FillDeviceMetrics(const std::vector<DeviceReading>& readings, MetricSet& metrics) {
  for (const DeviceReading& reading : readings) {
    const std::string device = std::to_string(reading.device);
    auto set = [&](const MetricInfo& info, const std::optional<double>& value) {
      if (value.has_value()) metrics.Set(info, {device}, *value);
    };
    set(metrics::kDevicePower, reading.power_watts);
    set(metrics::kDeviceTemperature, reading.temperature_celsius);
    set(metrics::kDeviceSmClock, reading.sm_clock_hertz);
    set(metrics::kDeviceUtilization, reading.utilization);
    set(metrics::kDeviceMemoryUsed, reading.memory_used_bytes);
    if (reading.ecc_uncorrected.has_value()) {
      metrics.Add(metrics::kDeviceEccErrors, {device}, *reading.ecc_uncorrected);
    }
    if (!reading.throttle_bits.has_value()) continue;
    const auto throttled = ThrottledBy(*reading.throttle_bits);
    for (size_t i = 0; i < throttled.size(); ++i) {
      metrics.Set(metrics::kDeviceThrottled, {device, kThrottleReasons[i]}, throttled[i] ? 1 : 0);
    }
  }
}

}  // namespace ballast
