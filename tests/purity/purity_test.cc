// Decisions are pure functions: the simulator, replay and the tests run the very code that production runs.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>

#include "tests/purity/impurities.h"

namespace ballast {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using testing::FindImpurities;
using testing::Impurities;
using ::testing::IsEmpty;

std::optional<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path);
  if (!file) return std::nullopt;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(Purity, DecisionsStayPure) {
  std::vector<std::string> files;
  std::istringstream lines(ReadFile(PURE_FILES).value());
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty()) files.push_back(line);
  }
  const Impurities result = FindImpurities(
      files, [](const std::string& path) { return ReadFile(std::string(SOURCE_ROOT) + "/" + path); });
  EXPECT_THAT(result.found, IsEmpty());
  // The lists are what they claim to be: sources of every pure folder, and headers reached through them.
  for (const char* file :
       {"plan/split.cc", "coordinator/planner/greedy.cc", "coordinator/core.cc", "coordinator/events.h",
        "protocol/messages.h", "worker/fence.cc", "worker/session.cc", "plan/plan.h", "base/ids.h"}) {
    EXPECT_THAT(result.files, Contains(std::string(file)));
  }
}

TEST(Purity, PureLibrariesLinkPureLibraries) {
  EXPECT_EQ(ReadFile(IMPURE_LINKS), "") << "pure targets link something else than pure targets";
}

// The wall clock jumps: it may stamp what people read, and end an RPC's deadline; nothing else may depend on
// it.
TEST(Purity, FewReadTheWallClock) {
  namespace fs = std::filesystem;
  static const std::regex reads(
      "system_clock|CLOCK_REALTIME|\\bgettimeofday\\b|absl::Now\\b|\\btime\\((0|NULL|nullptr)\\)");
  std::vector<std::string> found;
  int files = 0;
  for (const char* folder : {"base", "plan", "protocol", "coordinator", "worker", "net", "wire", "metrics"}) {
    for (const auto& entry : fs::recursive_directory_iterator(std::string(SOURCE_ROOT) + "/" + folder)) {
      const std::string extension = entry.path().extension();
      if (extension != ".h" && extension != ".cc") continue;
      ++files;
      const std::string text = ReadFile(entry.path()).value();
      if (std::regex_search(text, reads)) found.push_back(fs::relative(entry.path(), SOURCE_ROOT));
    }
  }
  EXPECT_GE(files, 200);
  EXPECT_THAT(found, ::testing::UnorderedElementsAre(
                         "base/log.cc",            // stamps of lines
                         "base/mutex.h",           // under ThreadSanitizer alone
                         "coordinator/driver.cc",  // stamps of events and plans, for people
                         "coordinator/server.cc"   // how long open calls get when it stops; gRPC wants it so
                         ));
}

// The same search over planted sources.
Impurities Search(const std::map<std::string, std::string>& sources) {
  return FindImpurities({"plan/a.cc"}, [&](const std::string& path) -> std::optional<std::string> {
    const auto it = sources.find(path);
    return it == sources.end() ? std::nullopt : std::optional(it->second);
  });
}

TEST(Purity, PlantedIncludesAreFound) {
  for (const char* name :
       {"chrono", "thread", "mutex", "atomic", "random", "iostream", "fstream", "cstdio", "unistd.h",
        "sys/stat.h", "grpcpp/grpcpp.h", "google/protobuf/message.h", "proto/ballast/v1/job.pb.h",
        "cuda_runtime.h", "absl/time/time.h", "base/log.h", "base/mailbox.h", "wire/convert.h"}) {
    const Impurities result =
        Search({{"plan/a.cc", "#include <vector>\n#include <" + std::string(name) + ">\n"}});
    EXPECT_THAT(result.found, ElementsAre("plan/a.cc: includes " + std::string(name)));
  }
}

TEST(Purity, PlantedIncludesAreFoundBehindHeaders) {
  const Impurities result = Search({{"plan/a.cc", "#include \"plan/b.h\"\n"},
                                    {"plan/b.h", "#pragma once\n  #  include \"base/c.h\"  // why\n"},
                                    {"base/c.h", "#include <thread>\n#include \"plan/b.h\"\n"}});
  EXPECT_THAT(result.found, ElementsAre("plan/a.cc -> plan/b.h -> base/c.h: includes thread"));
}

TEST(Purity, PlantedUsesAreFound) {
  for (const char* line :
       {"auto t = std::chrono::steady_clock::now();", "SteadyClock clock;", "void F(const Clock& c);",
        "int x = rand();", "std::cerr << 1;", "FILE* f = fopen(name, mode);", "static thread_local int x;",
        "const char* v = std::getenv(name);", "std::atomic<int> n;"}) {
    EXPECT_EQ(Search({{"plan/a.cc", line}}).found.size(), 1u) << line;
  }
}

TEST(Purity, PureCodeIsNotFound) {
  const Impurities result = Search({{"plan/a.cc",
                                     "#include \"base/clock.h\"\n"
                                     "#include <vector>\n"
                                     "// never calls now() or rand(), and has no std::thread\n"
                                     "const char* kText = \"std::cout << time(0) // rand()\";\n"
                                     "int64_t strand(int x) { return 1'000 * x; }  // not rand()\n"
                                     "Time deadline; double predicted_time(int);\n"},
                                    {"base/clock.h", "#include <chrono>\nclass SteadyClock {};\n"}});
  EXPECT_THAT(result.found, IsEmpty());
  EXPECT_EQ(result.files.size(), 2u);
}

TEST(Purity, AMissingFileIsFound) { EXPECT_THAT(Search({}).found, ElementsAre("plan/a.cc: cannot be read")); }

}  // namespace
}  // namespace ballast
