// scripts/quickstart as a new user runs it: its last line, its exit codes, and that nothing is left behind.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <set>
#include <sstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/process.h"

namespace ballast {
namespace {

const std::string kRoot = BALLAST_SOURCE_DIR;
const std::string kRun = kRoot + "/build/quickstart";

// Ends the script in its own way, so that its daemons end with it.
class Quickstart {
 public:
  explicit Quickstart(const std::string& arguments)
      : process_({"/bin/bash", "-c", absl::StrCat("exec ", kRoot, "/scripts/quickstart ", arguments)},
                 testing::TempDir() + absl::StrCat("/quickstart-", getpid(), ".log")) {}
  ~Quickstart() {
    if (!process_.running()) return;
    process_.Signal(SIGTERM);
    process_.Wait(30);
  }
  Process& process() { return process_; }

 private:
  Process process_;
};

std::string LastLine(const std::string& text) {
  std::istringstream in(text);
  std::string line, last;
  while (std::getline(in, line)) {
    if (!line.empty()) last = line;
  }
  return last;
}

// Programs of build/bin that run with a certificate of the quickstart.
int DaemonsLeft() {
  int left = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string command = ReadFile(entry.path() / "cmdline");
    if (absl::StrContains(command, "build/bin/ballast-") &&
        absl::StrContains(command, "build/quickstart/certs"))
      ++left;
  }
  return left;
}

TEST(QuickstartScript, TrainsMovesExpertsAndStopsEverything) {
  Quickstart quickstart("--steps 60");
  const std::optional<int> code = quickstart.process().Wait(500);
  const std::string output = quickstart.process().Output();
  ASSERT_EQ(code, 0) << output;

  const auto figures = nlohmann::json::parse(LastLine(output), nullptr, /*allow_exceptions=*/false);
  ASSERT_TRUE(figures.is_object()) << output;
  std::set<std::string> keys;
  for (const auto& [key, value] : figures.items()) keys.insert(key);
  EXPECT_EQ(keys,
            (std::set<std::string>{"steps", "loss_first", "loss_last", "loss_by_source", "plans_committed",
                                   "slot_writes", "imbalance_before", "imbalance_after", "tokens_per_s",
                                   "step_s_predicted", "step_s_measured"}));
  EXPECT_EQ(figures["steps"], 60);
  EXPECT_LT(figures["loss_last"].get<double>(), 0.7 * figures["loss_first"].get<double>());
  EXPECT_EQ(figures["loss_by_source"].size(), 2u);
  EXPECT_GE(figures["plans_committed"].get<int>(), 1);
  EXPECT_GE(figures["slot_writes"].get<int>(), 1);
  EXPECT_LT(figures["imbalance_after"].get<double>(), figures["imbalance_before"].get<double>());
  const double tokens_per_s = figures["tokens_per_s"].get<double>();
  EXPECT_GT(tokens_per_s, 0);
  // A plan says what its steps will take from what the steps before it took (within 10 %, or that is learned
  // anew). Other programs that come to this machine or go meanwhile may double a step, hardly more.
  constexpr double kFactor = 3;
  ASSERT_TRUE(figures["step_s_predicted"].is_number() && figures["step_s_measured"].is_number()) << figures;
  const double predicted = figures["step_s_predicted"].get<double>();
  const double measured = figures["step_s_measured"].get<double>();
  EXPECT_GT(predicted, measured / kFactor) << figures;
  EXPECT_LT(predicted, measured * kFactor) << figures;
  constexpr double kTokensOfAStep = 32 * 128;
  EXPECT_GT(measured, kTokensOfAStep / tokens_per_s / kFactor) << figures;
  EXPECT_LT(measured, kTokensOfAStep / tokens_per_s * kFactor) << figures;
  EXPECT_TRUE(absl::StrContains(output, " active: ")) << output;
  EXPECT_EQ(DaemonsLeft(), 0);
  EXPECT_FALSE(std::filesystem::exists(kRun + "/pids"));
}

TEST(QuickstartScript, AnInterruptStopsEverything) {
  Quickstart quickstart("--steps 1000");
  bool training = false;
  for (int i = 0; i < 1200 && !training && quickstart.process().running(); ++i) {
    usleep(100'000);
    training = absl::StrContains(quickstart.process().Output(), "step 2/1000");
  }
  ASSERT_TRUE(training) << quickstart.process().Output();
  quickstart.process().Signal(SIGINT);
  EXPECT_EQ(quickstart.process().Wait(60), 130) << quickstart.process().Output();
  EXPECT_EQ(DaemonsLeft(), 0);
}

TEST(QuickstartScript, BadArgumentsAreExitCodeTwo) {
  for (const char* arguments : {"--steps", "--steps 1", "--steps x", "--nonsense"}) {
    Quickstart quickstart(arguments);
    EXPECT_EQ(quickstart.process().Wait(20), 2) << arguments;
  }
}

}  // namespace
}  // namespace ballast
