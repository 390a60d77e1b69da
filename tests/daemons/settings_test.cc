#include "worker/settings.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "tests/base/temp_dir.h"
#include "worker/device_choice.h"

namespace ballast {
namespace {

WorkerSettings Parse(std::vector<std::string> arguments) {
  CLI::App app;
  WorkerSettings settings;
  AddWorkerOptions(app, settings);
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 takes them
  app.parse(arguments);
  return settings;
}

TEST(WorkerSettings, ComeFromArgumentsTheEnvironmentAndAFile) {
  TempDir dir;
  std::ofstream(dir / "worker.conf") << "coordinator=filehost:1\nranks=3\ndata-address=10.0.0.9\n";
  setenv("BALLAST_RANKS", "2", 1);
  setenv("BALLAST_DATA_ADDRESS", "10.0.0.8", 1);
  WorkerSettings settings = Parse({"--coordinator", "host:1", "--label", "zone=a", "--label", "rack=7"});
  EXPECT_EQ(settings.coordinator, "host:1");
  EXPECT_EQ(settings.ranks, 2);
  EXPECT_EQ(settings.device, "cpu");
  EXPECT_EQ(settings.data_address, "10.0.0.8");
  EXPECT_EQ(settings.labels, (std::vector<std::string>{"zone=a", "rack=7"}));
  EXPECT_EQ(Parse({"--coordinator", "host:1", "--ranks", "5"}).ranks, 5) << "arguments come first";
  setenv("BALLAST_LABEL", "zone=b,rack=8", 1);
  EXPECT_EQ(Parse({"--coordinator", "host:1"}).labels, (std::vector<std::string>{"zone=b", "rack=8"}));
  unsetenv("BALLAST_LABEL");
  unsetenv("BALLAST_RANKS");
  unsetenv("BALLAST_DATA_ADDRESS");
  settings = Parse({"--config", dir / "worker.conf"});
  EXPECT_EQ(settings.coordinator, "filehost:1");
  EXPECT_EQ(settings.ranks, 3);
  EXPECT_THROW(Parse({"--coordinator", "host:1", "--ranks", "0"}), CLI::ParseError);
  EXPECT_EQ(Parse({"--coordinator", "host:1", "--memory-max", "12884901888"}).memory_max, 12884901888u);
  EXPECT_THROW(Parse({"--coordinator", "host:1", "--memory-max", "-1"}), CLI::ParseError);
  EXPECT_THROW(Parse({}), CLI::ParseError);
  EXPECT_EQ(EnvironmentName("--data-address"), "BALLAST_DATA_ADDRESS");
}

TEST(WorkerSettings, DevicesAreReadStrictly) {
  EXPECT_EQ(ParseDevice("cpu")->kind, DeviceChoice::Kind::kCpu);
  EXPECT_EQ(ParseDevice("cuda")->kind, DeviceChoice::Kind::kCuda);
  EXPECT_TRUE(ParseDevice("cuda")->numbers.empty());
  EXPECT_EQ(ParseDevice("cuda:3,0")->numbers, (std::vector<int>{3, 0}));
  for (const char* bad : {"", "tpu", "cuda:", "cuda:a", "cuda:0,", "cuda:-1", "cuda:0,0", "cuda:0 ,1",
                          "cuda:99999999999", "cpu:0"}) {
    EXPECT_EQ(ParseDevice(bad).status().message(),
              std::string("--device: found \"") + bad +
                  "\", allowed: cpu, cuda, cuda:N,N,... with different numbers");
  }
}

TEST(WorkerSettings, EveryRankHasADeviceThatIsThere) {
  EXPECT_EQ(ChooseDevices({.kind = DeviceChoice::Kind::kCuda, .numbers = {}}, 0, 3).value(),
            (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(ChooseDevices({.kind = DeviceChoice::Kind::kCuda, .numbers = {2, 1}}, 2, 3).value(),
            (std::vector<int>{2, 1}));
  EXPECT_EQ(ChooseDevices({.kind = DeviceChoice::Kind::kCuda, .numbers = {0, 3}}, 0, 2).status().message(),
            "--device: found device 3, allowed 0..1 (2 here)");
  EXPECT_EQ(ChooseDevices({.kind = DeviceChoice::Kind::kCuda, .numbers = {}}, 4, 2).status().message(),
            "--ranks: found 4, allowed 2 (a rank for each device), or to leave it out");
}

TEST(WorkerSettings, LabelsAreKeysWithValues) {
  EXPECT_EQ(ParseLabels({"a=1", "b="}).value(), (std::map<std::string, std::string>{{"a", "1"}, {"b", ""}}));
  EXPECT_FALSE(ParseLabels({"a"}).ok());
  EXPECT_FALSE(ParseLabels({"=1"}).ok());
  EXPECT_EQ(ParseLabels({"a=1", "a=2"}).status().message(), "--label: a is given twice");
}

TEST(WorkerSettings, TheNameIsTheCertificates) {
  EXPECT_EQ(ChooseName("", "worker/w0").value(), "w0");
  EXPECT_EQ(ChooseName("w0", "worker/w0").value(), "w0");
  EXPECT_EQ(ChooseName("w1", "").value(), "w1");
  EXPECT_FALSE(ChooseName("w1", "worker/w0").ok());
  EXPECT_FALSE(ChooseName("", "operator/me").ok());
  EXPECT_FALSE(ChooseName("", "").ok());
}

}  // namespace
}  // namespace ballast
