// The series of device readings.
#pragma once

#include <vector>

#include "metrics/metric_set.h"
#include "worker/device_health/device_reading.h"

namespace ballast {

// A few series per device, with its number as label. What a device does not tell has none.
void FillDeviceMetrics(const std::vector<DeviceReading>& readings, MetricSet& metrics);

}  // namespace ballast
