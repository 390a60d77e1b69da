// ballastctl without a coordinator: usage, files, dry runs, exit codes.
#include "ctl/cli.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "ctl/exit_code.h"
#include "protocol/version.h"
#include "tests/base/temp_dir.h"
#include "wire/job_reader.h"

namespace ballast {
namespace {

struct Result {
  int code = 0;
  std::string out;
  std::string err;
};

Result Ctl(const std::vector<std::string>& arguments) {
  std::ostringstream out, err;
  int code = RunCli(arguments, out, err, false);
  return {code, out.str(), err.str()};
}

const std::string kExample = BALLAST_SOURCE_DIR "/deploy/examples/gpt-moe-tiny.yaml";

TEST(Cli, HelpIsDataAndListsTheExitCodes) {
  Result help = Ctl({"--help"});
  EXPECT_EQ(help.code, kExitOk);
  EXPECT_NE(help.out.find("Exit codes:"), std::string::npos);
  EXPECT_NE(help.out.find("BALLAST_COORDINATOR"), std::string::npos);
  EXPECT_EQ(help.err, "");
  Result sub = Ctl({"plan", "rollback", "--help"});
  EXPECT_EQ(sub.code, kExitOk);
  EXPECT_NE(sub.out.find("--to VERSION"), std::string::npos) << sub.out;
}

TEST(Cli, WrongUsageIsExitCodeTwo) {
  const std::vector<std::vector<std::string>> cases = {
      {},
      {"job"},
      {"nonsense"},
      {"job", "submit"},
      {"job", "list", "--no-such-flag"},
      {"job", "list", "-o", "xml"},
      {"job", "list", "--timeout", "-1"},
      {"job", "list", "--timeout", "soon"},
      {"plan", "rollback", "x", "--to", "0"},
      {"data", "prepare", "--out", "x"},
      {"certs", "dev"},
      {"version", "--config", "/nonexistent/ballast.toml"},
  };
  for (const auto& arguments : cases) {
    Result run = Ctl(arguments);
    EXPECT_EQ(run.code, kExitUsage) << testing::PrintToString(arguments);
    EXPECT_EQ(run.out, "") << testing::PrintToString(arguments);
    EXPECT_NE(run.err, "") << testing::PrintToString(arguments);
  }
}

TEST(Cli, DryRunPrintsTheResolvedJobAndNeedsNoCoordinator) {
  Result yaml = Ctl({"job", "submit", "-f", kExample, "--dry-run"});
  ASSERT_EQ(yaml.code, kExitOk) << yaml.err;
  EXPECT_EQ(yaml.err, "");
  auto again = ReadJob({"resolved.yaml", yaml.out});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->optimizer.beta2, 0.95);                             // a default, filled in
  EXPECT_EQ(again->placement.home_move_bytes_max, int64_t{64} << 20);  // that of this model
  EXPECT_NE(yaml.out.find("planner:\n  strategy: auto\n"), std::string::npos);

  Result json = Ctl({"job", "submit", "-f", kExample, "--dry-run", "-o", "json"});
  ASSERT_EQ(json.code, kExitOk);
  auto parsed = nlohmann::json::parse(json.out);
  EXPECT_EQ(parsed["model"]["moe"]["experts"], 8);
  EXPECT_EQ(parsed["data"]["mixture"][1]["weights"]["cpp"], 90.0);
  EXPECT_EQ(parsed["training"]["steps"], 200);
}

TEST(Cli, ADryRunOfABadFileIsExitCodeTwoWithThePlace) {
  TempDir folder;
  auto source = ReadSourceFile(kExample);
  ASSERT_TRUE(source.ok());
  std::string text = source->text;
  text.replace(text.find("top_k: 2"), 8, "top_k: 9");
  std::string path = folder.Write("job.yaml", text);
  Result run = Ctl({"job", "submit", "-f", path, "--dry-run"});
  EXPECT_EQ(run.code, kExitUsage);
  EXPECT_EQ(run.out, "");
  EXPECT_EQ(run.err,
            "ballastctl: " + path + ":14:5: model.moe.top_k: found 9, allowed 1..8 (number of experts)\n");

  Result strategy =
      Ctl({"job", "submit", "-f", folder.Write("s.yaml", source->text + "  chunks: 0\n"), "--dry-run"});
  EXPECT_EQ(strategy.code, kExitUsage);
  Result missing = Ctl({"job", "submit", "-f", folder.path() + "/none.yaml", "--dry-run"});
  EXPECT_EQ(missing.code, kExitUsage);
  EXPECT_EQ(missing.err,
            "ballastctl: " + folder.path() + "/none.yaml: cannot open: No such file or directory\n");
  Result syntax = Ctl({"job", "submit", "-f", folder.Write("x.yaml", "name: [x\n"), "--dry-run"});
  EXPECT_EQ(syntax.code, kExitUsage);
  EXPECT_EQ(syntax.err, "ballastctl: " + folder.path() +
                            "/x.yaml:2:1: syntax error at line 2: end of sequence flow not found\n");
  Result plan = Ctl({"plan", "push", "-f", folder.Write("p.yaml", "base: 1\n")});
  EXPECT_EQ(plan.code, kExitUsage);
  EXPECT_NE(plan.err.find("p.yaml:1:1: base: unknown field"), std::string::npos) << plan.err;
}

TEST(Cli, CertificatesMustBeNamed) {
  Result run = Ctl({"job", "list"});
  EXPECT_EQ(run.code, kExitUsage);
  EXPECT_EQ(run.err,
            "ballastctl: --ca is not set: give --ca, --cert and --key, or --insecure for plaintext without "
            "identities\n");
}

TEST(Cli, NobodyThereIsExitCodeFive) {
  Result run = Ctl({"job", "list", "--insecure", "--coordinator", "127.0.0.1:1"});
  EXPECT_EQ(run.code, kExitUnavailable) << run.err;
  EXPECT_NE(run.err.find("no coordinator answers at 127.0.0.1:1"), std::string::npos) << run.err;
  EXPECT_EQ(run.out, "");
}

TEST(Cli, VariablesAndConfigFileAreRead) {
  TempDir folder;
  setenv("BALLAST_OUTPUT", "json", 1);
  Result variable = Ctl({"version"});
  unsetenv("BALLAST_OUTPUT");
  EXPECT_EQ(nlohmann::json::parse(variable.out)["protocol_version"], kProtocolVersion);

  std::string config =
      folder.Write("ballast.toml", "output=\"yaml\"\ncoordinator=\"127.0.0.1:2\"\ninsecure=true\n");
  Result file = Ctl({"version", "--config", config});
  EXPECT_NE(file.out.find(absl::StrCat("protocol_version: ", kProtocolVersion, "\n")), std::string::npos)
      << file.out;
  Result reached = Ctl({"--config", config, "job", "list"});
  EXPECT_EQ(reached.code, kExitUnavailable) << reached.err;
  EXPECT_NE(reached.err.find("127.0.0.1:2"), std::string::npos) << reached.err;
  // A flag wins over the file, and an unknown name in it is an error.
  Result flag = Ctl({"--config", config, "-o", "table", "version"});
  EXPECT_EQ(flag.out.rfind("ballastctl ", 0), 0u) << flag.out;
  EXPECT_EQ(Ctl({"version", "--config", folder.Write("bad.toml", "colour=\"red\"\n")}).code, kExitUsage);
}

TEST(Cli, DataPrepareAndCertsDev) {
  TempDir folder;
  folder.Write("in/a", "hello");
  Result prepared =
      Ctl({"data", "prepare", "--out", folder.path() + "/data", folder.path() + "/in", "-o", "json"});
  ASSERT_EQ(prepared.code, kExitOk) << prepared.err;
  EXPECT_EQ(nlohmann::json::parse(prepared.out)["tokens"], 6);
  EXPECT_EQ(Ctl({"data", "prepare", "--out", folder.path() + "/x", folder.path() + "/none"}).code,
            kExitUsage);

  std::vector<std::string> dev = {"certs",     "dev", "--out",       folder.path() + "/c",
                                  "--workers", "a,b", "--operators", "me"};
  Result certs = Ctl(dev);
  ASSERT_EQ(certs.code, kExitOk) << certs.err;
  EXPECT_NE(certs.out.find(folder.path() + "/c/worker-b.key\n"), std::string::npos);
  EXPECT_EQ(Ctl(dev).code, kExitConflict);
  dev.push_back("--force");
  EXPECT_EQ(Ctl(dev).code, kExitOk);
}

}  // namespace
}  // namespace ballast
