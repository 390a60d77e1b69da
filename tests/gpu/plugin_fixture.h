// Tests on a device: skipped, with the plug-in's own line, where there is none.
#pragma once

#include <gtest/gtest.h>

#include "worker/backend/plugin.h"

namespace ballast {

// The plug-in, or null when the test is to be skipped. A plug-in that was built and does not load is a
// failure.
inline DevicePlugin* PluginOrSkipReason(std::string* reason) {
  static const absl::StatusOr<DevicePlugin*> plugin = LoadCudaPlugin();
  if (plugin.ok()) return *plugin;
  *reason = plugin.status().ToString();
  EXPECT_EQ(plugin.status().code(), absl::StatusCode::kUnavailable) << *reason;
  return nullptr;
}

}  // namespace ballast

// In SetUp or a TEST: binds `plugin`, or ends the test.
#define BALLAST_PLUGIN_OR_SKIP(plugin)                          \
  std::string ballast_skip_reason;                              \
  plugin = ::ballast::PluginOrSkipReason(&ballast_skip_reason); \
  if (plugin == nullptr) GTEST_SKIP() << ballast_skip_reason
