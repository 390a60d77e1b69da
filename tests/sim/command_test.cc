// ballast-sim on the command line: exit codes, the last line, and transcripts that replay.
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <string>

#include "gtest/gtest.h"
#include "tests/base/temp_dir.h"

namespace ballast {
namespace {

struct Outcome {
  int exit_code = -1;
  std::string output;
  std::string last_line;
};

class Command : public testing::Test {
 protected:
  Outcome Run(const std::string& arguments) {
    Outcome outcome;
    FILE* pipe =
        popen(("cd " + folder_.path() + " && " + BALLAST_SIM + " " + arguments + " 2>&1").c_str(), "r");
    std::array<char, 4096> buffer;
    while (size_t n = fread(buffer.data(), 1, buffer.size(), pipe)) outcome.output.append(buffer.data(), n);
    const int status = pclose(pipe);
    outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    std::string text = outcome.output;
    if (!text.empty() && text.back() == '\n') text.pop_back();
    outcome.last_line = text.substr(text.rfind('\n') + 1);
    return outcome;
  }
  std::string PathOf(const std::string& name) const { return folder_ / name; }

  TempDir folder_;
};

TEST_F(Command, SeedsThatHoldExitWith0) {
  const Outcome outcome = Run("--seeds 3..7");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_EQ(outcome.last_line.find("{\"seeds\":5,\"failed\":0,\"steps\":"), 0u) << outcome.last_line;
}

TEST_F(Command, AViolationExitsWith1AndLeavesATranscriptThatReplays) {
  const Outcome outcome = Run("--seeds 1..20 --plant own-cells-consulted");
  EXPECT_EQ(outcome.exit_code, 1) << outcome.output;
  EXPECT_NE(outcome.output.find(": I1: step "), std::string::npos) << outcome.output;
  const std::string key = "transcript: ";
  const size_t at = outcome.output.find(key);
  ASSERT_NE(at, std::string::npos) << outcome.output;
  const std::string path =
      outcome.output.substr(at + key.size(), outcome.output.find('\n', at) - at - key.size());
  ASSERT_TRUE(std::filesystem::exists(PathOf(path))) << path;
  EXPECT_EQ(Run("--replay " + path).exit_code, 0);
  std::ofstream(PathOf(path), std::ios::app) << "one line more\n";
  EXPECT_EQ(Run("--replay " + path).exit_code, 1);
}

TEST_F(Command, OneSeedWritesItsTranscriptWhereAsked) {
  EXPECT_EQ(Run("--seed 5 --transcript five.txt").exit_code, 0);
  EXPECT_TRUE(std::filesystem::exists(PathOf("five.txt")));
  EXPECT_NE(Run("--seed 5 --transcript").output.find("LeadershipWon"), std::string::npos);
}

TEST_F(Command, UsageErrorsExitWith2) {
  for (const char* arguments : {"--seeds 7..3", "--seeds five", "--seed x", "--plant nothing", "--what",
                                "--replay /no/such", "--transcript", "--seed 1 --seeds 1..2"}) {
    EXPECT_EQ(Run(arguments).exit_code, 2) << arguments;
  }
}

}  // namespace
}  // namespace ballast
