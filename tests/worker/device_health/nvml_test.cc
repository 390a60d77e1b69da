#include "worker/device_health/nvml.h"

#include <gtest/gtest.h>

namespace ballast {
namespace {

const std::vector<NvmlDevice> kDevices = {{.number = 3, .pci_bus_id = "00000000:1B:00.0"},
                                          {.number = 0, .pci_bus_id = "00000000:43:00.0"}};

TEST(Nvml, ReadsWhatEachDeviceTells) {
  auto nvml = Nvml::Open(kDevices, BALLAST_FAKE_NVML);
  ASSERT_TRUE(nvml.ok()) << nvml.status();
  for (int again = 0; again < 2; ++again) {
    const std::vector<DeviceReading> readings = (*nvml)->Read();
    ASSERT_EQ(readings.size(), 2u);
    const DeviceReading& first = readings[0];
    EXPECT_EQ(first.device, 3);
    EXPECT_DOUBLE_EQ(first.power_watts.value(), 412.5);
    EXPECT_DOUBLE_EQ(first.temperature_celsius.value(), 61);
    EXPECT_DOUBLE_EQ(first.utilization.value(), 0.97);
    EXPECT_DOUBLE_EQ(first.memory_used_bytes.value(), 700);
    EXPECT_EQ(first.throttle_bits.value(), 0x44u);
    EXPECT_DOUBLE_EQ(first.ecc_uncorrected.value(), 3);
    EXPECT_FALSE(first.sm_clock_hertz.has_value()) << "the library has no such function";
    const DeviceReading& second = readings[1];
    EXPECT_EQ(second.device, 0);
    EXPECT_FALSE(second.power_watts.has_value()) << "not supported";
    EXPECT_FALSE(second.ecc_uncorrected.has_value());
    EXPECT_DOUBLE_EQ(second.temperature_celsius.value(), 38);
    EXPECT_DOUBLE_EQ(second.memory_used_bytes.value(), 0);
  }
}

TEST(Nvml, SaysWhatIsMissing) {
  absl::Status status = Nvml::Open(kDevices, "/nowhere/libnvidia-ml.so.1").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_NE(status.message().find("/nowhere/libnvidia-ml.so.1"), std::string::npos) << status;
  status = Nvml::Open(kDevices, "libm.so.6").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(status.message().find("libm.so.6 is not NVML"), std::string::npos) << status;
  status = Nvml::Open({{.number = 1, .pci_bus_id = "00000000:FF:00.0"}}, BALLAST_FAKE_NVML).status();
  EXPECT_EQ(status, absl::UnavailableError("NVML has no device 00000000:FF:00.0: Not Found"));
}

TEST(ThrottledBy, NamesReasonsAndNotIdleness) {
  using Flags = std::array<bool, kThrottleReasons.size()>;  // power_cap, hardware, thermal, power_brake, sync
  EXPECT_EQ(ThrottledBy(0x01), (Flags{}));                  // idle
  EXPECT_EQ(ThrottledBy(0x02), (Flags{}));                  // clocks set by somebody
  EXPECT_EQ(ThrottledBy(0x04), (Flags{true, false, false, false, false}));
  EXPECT_EQ(ThrottledBy(0x20), (Flags{false, false, true, false, false}));
  EXPECT_EQ(ThrottledBy(0x40 | 0x08), (Flags{false, true, true, false, false}));
  EXPECT_EQ(ThrottledBy(0x80 | 0x10), (Flags{false, false, false, true, true}));
}

}  // namespace
}  // namespace ballast
