// docs/cli.md and what the programs say of themselves name the same flags.
#include <gtest/gtest.h>

#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/e2e/process.h"
#include "tests/e2e/program_help.h"

namespace ballast {
namespace {

// `command` and all commands below it.
void AddCommands(const std::string& command, std::vector<std::string>& commands) {
  commands.push_back(command);
  std::istringstream lines(Help(command));
  bool below = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("Subcommands:", 0) == 0) {
      below = true;
    } else if (line.empty()) {
      below = false;
    } else if (below && line.size() > 2 && line.rfind("  ", 0) == 0 && line[2] != ' ') {
      AddCommands(command + " " + line.substr(2, line.find(' ', 2) - 2), commands);
    }
  }
}

// From the heading that contains `words` to the next of its rank.
std::string Section(const std::string& text, const std::string& words) {
  const size_t begin = text.find("\n# " + words);
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find("\n# ", begin + 1) - begin);
}

TEST(Flags, AllAreInTheManualAndTheManualNamesNoOthers) {
  const std::string manual = "\n" + ReadFile(BALLAST_SOURCE_DIR "/docs/cli.md");
  ASSERT_GT(manual.size(), 1000u);
  for (const std::string program : {"ballastctl", "ballast-coordinator", "ballast-worker"}) {
    const std::string section = Section(manual, program);
    ASSERT_FALSE(section.empty()) << "docs/cli.md has no heading \"# " << program << "\"";
    std::vector<std::string> commands;
    AddCommands(program, commands);
    if (program == "ballastctl") {
      EXPECT_GE(commands.size(), 15u);
    }
    const std::set<std::string> documented = FlagsIn(section);
    std::set<std::string> known;
    for (const std::string& command : commands) {
      for (const std::string& flag : FlagsIn(Help(command))) {
        known.insert(flag);
        EXPECT_TRUE(documented.count(flag)) << command << " " << flag << " is not in docs/cli.md";
      }
    }
    EXPECT_GE(known.size(), 7u) << program;
    for (const std::string& flag : documented) {
      EXPECT_TRUE(known.count(flag)) << flag << " of docs/cli.md is no flag of " << program;
    }
  }
}

}  // namespace
}  // namespace ballast
