// deploy/systemd: systemd takes the units, and the daemons come up with the files that the units name.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "tests/e2e/cluster.h"
#include "tests/e2e/program_help.h"

namespace ballast {
namespace {

const std::string kFolder = BALLAST_SOURCE_DIR "/deploy/systemd/";

// A unit with the programs of this build in the place of the archive's.
std::string Unit(const std::string& daemon) {
  return absl::StrReplaceAll(ReadFile(kFolder + "ballast-" + daemon + ".service"),
                             {{"/opt/ballast/bin", BALLAST_BINARY_DIR}});
}

std::string Configuration(const std::string& daemon) { return ReadFile(kFolder + daemon + ".conf"); }

// The one line of the unit that begins with `key`=.
std::string Value(const std::string& unit, const std::string& key) {
  std::istringstream lines(unit);
  std::string found;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind(key + "=", 0) != 0) continue;
    EXPECT_EQ(found, "") << key << " stands twice";
    found = line.substr(key.size() + 1);
  }
  EXPECT_NE(found, "") << key << " is not there";
  return found;
}

// Exit code of systemd-analyze; what it says is in `said`.
int Analyze(const TempDir& dir, std::vector<std::string> arguments, std::string& said) {
  arguments.insert(arguments.begin(), "/usr/bin/systemd-analyze");
  const std::string log = dir / "systemd-analyze.log";
  std::filesystem::remove(log);
  Process process(arguments, log);
  const int code = process.Wait(30).value_or(-1);
  said = process.Output();
  return code;
}

class Systemd : public testing::TestWithParam<std::string> {};

TEST_P(Systemd, TakesTheUnitAndFindsItTight) {
  TempDir dir;
  const std::string path = dir / absl::StrCat("ballast-", GetParam(), ".service");
  std::ofstream(path) << Unit(GetParam());
  std::string said;
  EXPECT_EQ(Analyze(dir, {"verify", "--man=no", path}, said), 0) << said;
  EXPECT_EQ(said, "") << "unknown sections and options are warnings";
  // Tenths of systemd's measure of exposure, from 0 to 100; of a unit without any of its options: 96.
  EXPECT_EQ(Analyze(dir, {"security", "--offline=yes", "--threshold=16", path}, said), 0) << said;

  // It would notice: without the options it is exposed, with a wrong one it is not taken.
  std::string loose = Unit(GetParam());
  loose = loose.substr(0, loose.find("NoNewPrivileges=")) + loose.substr(loose.find("[Install]"));
  std::ofstream(path, std::ios::trunc) << loose;
  EXPECT_NE(Analyze(dir, {"security", "--offline=yes", "--threshold=16", path}, said), 0) << said;
  std::ofstream(path, std::ios::trunc)
      << absl::StrReplaceAll(Unit(GetParam()), {{"ProtectSystem=", "ProtectSystems="}});
  Analyze(dir, {"verify", "--man=no", path}, said);
  EXPECT_NE(said.find("ProtectSystems"), std::string::npos) << said;
}

TEST_P(Systemd, OptionsOfTheFileAreTheDaemons) {
  const std::set<std::string> known = FlagsIn(Help("ballast-" + GetParam()));
  int options = 0;
  for (absl::string_view line : absl::StrSplit(Configuration(GetParam()), '\n')) {
    if (line.empty() || line[0] == '#') continue;
    const std::vector<std::string> halves = absl::StrSplit(line, absl::MaxSplits('=', 1));
    ASSERT_EQ(halves.size(), 2u) << line;
    EXPECT_TRUE(known.count("--" + halves[0])) << line;
    ++options;
  }
  EXPECT_GE(options, 5);
}

INSTANTIATE_TEST_SUITE_P(, Systemd, testing::Values("coordinator", "worker"),
                         [](const auto& info) { return info.param; });

TEST(SystemdUnits, TheDaemonsComeUpWithTheFiles) {
  // The cluster brings certificates and an operator; its daemons are those of the units.
  Cluster cluster;
  const std::string root = cluster.dir().path();
  std::filesystem::create_directories(root + "/etc");
  const std::string certificates = cluster.Certificate("");
  auto configure = [&](const std::string& daemon, std::vector<std::pair<std::string, std::string>> more) {
    more.insert(more.end(), {{"/etc/ballast/certs/worker.", certificates + "worker-w0."},
                             {"/etc/ballast/certs/", certificates},
                             {"/var/lib/ballast", root + "/state"},
                             {"0.0.0.0:7070", "127.0.0.1:0"},
                             {"127.0.0.1:7071", "127.0.0.1:0"},
                             {"0.0.0.0:7072", "127.0.0.1:0"}});
    std::ofstream(root + "/etc/" + daemon + ".conf") << absl::StrReplaceAll(Configuration(daemon), more);
    const std::string command =
        absl::StrReplaceAll(Value(Unit(daemon), "ExecStart"), {{"/etc/ballast", root + "/etc"}});
    return std::vector<std::string>(absl::StrSplit(command, ' '));
  };

  const std::string port_file = root + "/ports";
  std::vector<std::string> command = configure("coordinator", {});
  command.insert(command.end(), {"--port-file", port_file});
  cluster.StartCoordinatorBy(command, port_file);
  cluster.StartWorkerBy(
      0, configure("worker", {{"coordinator.example:7070", absl::StrCat("127.0.0.1:", cluster.port())}}));
  EXPECT_TRUE(cluster.WaitForWorkers(1, 20));
  EXPECT_TRUE(std::filesystem::exists(root + "/state/ballast.db"));
  const std::string ports = ReadFile(port_file);
  for (const char* port : {"grpc=", "http=", "metrics="})
    EXPECT_NE(ports.find(port), std::string::npos) << ports;
  for (Process* daemon : {&cluster.worker(0), &cluster.coordinator()}) {
    daemon->Signal(SIGTERM);
    EXPECT_EQ(daemon->Wait(20).value_or(-1), 0) << daemon->Output();
  }
}

}  // namespace
}  // namespace ballast
