#include "worker/backend/plugin.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace ballast {
namespace {

void ExpectLine(const absl::Status& status, absl::StatusCode code, const std::string& part) {
  EXPECT_EQ(status.code(), code) << status;
  const std::string line(status.message());
  for (const std::string& wanted : {std::string("no CUDA: "), part, std::string("--device cpu")}) {
    EXPECT_NE(line.find(wanted), std::string::npos) << line;
  }
  EXPECT_EQ(line.find('\n'), std::string::npos) << line;
}

TEST(Plugin, AMissingOneOffersTheCpu) {
  ExpectLine(LoadCudaPlugin("/nowhere/libballast_cuda.so").status(), absl::StatusCode::kNotFound,
             "/nowhere/libballast_cuda.so");
}

TEST(Plugin, WhatIsNoLibraryOffersTheCpu) {
  const std::string path = ::testing::TempDir() + "ballast_no_library.so";
  std::ofstream(path) << "text";
  ExpectLine(LoadCudaPlugin(path).status(), absl::StatusCode::kFailedPrecondition, path);
  std::filesystem::remove(path);
}

TEST(Plugin, OneOfAnotherInterfaceIsAnotherBuild) {
  ExpectLine(LoadCudaPlugin(BALLAST_OTHER_PLUGIN).status(), absl::StatusCode::kFailedPrecondition,
             "another build");
}

// The one of this build, where there is one: it loads, and says what is missing if there is no device.
TEST(Plugin, OwnOneLoadsWithoutADriver) {
  auto plugin = LoadCudaPlugin();
  if (plugin.ok()) {
    EXPECT_GT((*plugin)->Devices()->size(), 0u);
  } else if (std::filesystem::exists(CudaPluginPath())) {
    ExpectLine(plugin.status(), absl::StatusCode::kUnavailable, "no device");
  } else {
    ExpectLine(plugin.status(), absl::StatusCode::kNotFound, CudaPluginPath());
  }
}

}  // namespace
}  // namespace ballast
