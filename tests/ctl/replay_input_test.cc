// What replay, place and trace import refuse: one clear error each, before anything is written.
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/ctl/replay_cli.h"

namespace ballast {
namespace {

class ReplayInput : public testing::Test {
 protected:
  void Fails(const std::vector<std::string>& arguments, const std::string& text) {
    const Result result = Ctl(arguments);
    EXPECT_EQ(result.code, kExitUsage) << text << ": " << result.err;
    EXPECT_NE(result.err.find(text), std::string::npos) << "wanted: " << text << "\nfound: " << result.err;
    EXPECT_EQ(result.out, "");
  }
  // `command` on good loads with `more`.
  std::vector<std::string> With(const std::string& command, const std::vector<std::string>& more) const {
    std::vector<std::string> all = {command, "--loads", loads_, "--gpus", "2", "--slots", "3"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  const TempDir folder_;
  const std::string loads_ = ImportedTrace(folder_);
};

TEST_F(ReplayInput, BadFilesAreClearErrors) {
  for (const std::string command : {"replay", "place"}) {
    std::vector<std::string> good = {command, "--loads", loads_, "--gpus", "2", "--slots", "2"};
    const auto with = [&good](const std::string& option, const std::string& value) {
      std::vector<std::string> all = good;
      all.insert(all.end(), {option, value});
      return all;
    };
    good[2] = folder_.path() + "/none.npy";
    Fails(good, "none.npy: cannot be opened");
    good[2] = folder_.path();
    Fails(good, folder_.path() + ": found a folder, allowed is a regular file");
    good[2] = "/dev/null";
    Fails(good, "/dev/null: found a device, allowed is a regular file");
    good[2] = loads_;
    std::vector<std::string> sample = with("--tokens", folder_.path());
    sample.insert(sample.end(), {"--gpus-per-node", "1", "--strategy", "kmeans"});
    Fails(sample, folder_.path() + ": found a folder, allowed is a regular file");
    Fails(with("--strategy", "x"), "unknown layer strategy");
    good[6] = "2000000000";
    Fails(good, "slots of rank 0: found 2000000000, allowed is 0..65536");
  }
  for (const std::string& file : {folder_.path(), folder_.path() + "/none.csv"}) {
    Fails({"replay", "--loads", loads_, "--gpus", "2", "--slots", "2", "--telemetry", file}, file + ": ");
  }
  Fails({"trace", "import", "smartmoe", folder_.path() + "/none", "--out", "x", "--shape", "1,1,1,1,2"},
        "none: cannot be opened");
  Fails({"trace", "import", "megatron-jsonl", folder_.path() + "/none", "--out", "x"},
        "none: cannot be opened");
  Fails({"replay", "--loads", loads_, "--gpus", "2", "--slots", "1"}, "enough for 4 experts");
  Fails({"replay", "--loads", loads_, "--gpus", "3", "--gpus-per-node", "2", "--slots", "2"},
        "a divisor of 3");
  Fails({"replay", "--loads", loads_, "--gpus", "2", "--slots", "2", "--strategy", "genetic"},
        "genetic needs a co-activation sample");
  const std::string bad = folder_.path() + "/bad.npy";
  const auto write = [&bad](const std::string& dtype, const std::string& shape, const std::string& values) {
    WriteArray(bad, dtype, shape, values);
  };
  const std::vector<std::string> replay = {"replay", "--loads", bad, "--gpus", "2", "--slots", "2"};
  write("<i1", "(1, 1, 1, 4)", "abc");
  Fails(replay, "bad.npy: .npy: ");
  write("<f4", "(1, 1, 1, 4)", std::string(16, '\0'));
  Fails(replay, "<f4");
  write("<i1", "(1, 4)", "abcd");
  Fails(replay, "found 2 dimensions");
  write("<i1", "(1, 1, 1, 4)",
        "ab\xff"
        "d");
  Fails(replay, "expert 2: found -1");
  write("<u8", "(1, 1, 1, 2)", std::string(16, '\x70'));
  Fails(replay, "expert 0: found 8102099357864587376");
  for (const char* command : {"replay", "place"}) {
    const auto sample = [&](const std::string& text) {
      Fails({command, "--loads", loads_, "--gpus", "2", "--gpus-per-node", "1", "--slots", "2", "--strategy",
             "coactivation", "--tokens", bad},
            "bad.npy: tokens: found " + text);
    };
    write("<i1", "(3, 2)", std::string("\0\1\2\3\0\4", 6));
    Fails({command, "--loads", loads_, "--gpus", "2", "--gpus-per-node", "1", "--slots", "2", "--strategy",
           "coactivation", "--tokens", bad},
          "bad.npy: token 2: found expert 4, allowed is 0..3");
    write("<i1", "(0, 2)", "");
    sample("0 tokens with 2 experts each, allowed is 1 or more with 2..4");
    write("<i1", "(2, 0)", "");
    sample("2 tokens with 0 experts each");
    write("<i1", "(2, 1)", std::string(2, '\0'));
    sample("2 tokens with 1 experts each");
    write("<i1", "(1, 5)", std::string(5, '\0'));
    sample("1 tokens with 5 experts each");
  }
  std::ofstream(folder_.path() + "/lines.jsonl") << "{\"step\": 0}\n";
  Fails({"trace", "import", "megatron-jsonl", folder_.path() + "/lines.jsonl", "--out", "x"},
        "lines.jsonl, line 1: 'layer' is missing");
  std::ofstream(folder_.path() + "/cut.npy") << "\x93NUMPY\x01";
  Fails({"replay", "--loads", folder_.path() + "/cut.npy", "--gpus", "2", "--slots", "2"}, "cut.npy");
  Fails({"trace", "import", "smartmoe", folder_.path() + "/cut.npy", "--out", "x", "--shape", "1,2,3"},
        "shape");
}

// What would change nothing is not passed over.
TEST_F(ReplayInput, OptionsThatWouldBeIgnoredAreErrors) {
  const std::string html = folder_.path() + "/report.html", tokens = folder_.path() + "/tokens.npy";
  Fails(With("replay", {"--compare", "eplb"}), "--compare requires --html");
  for (const std::string option : {"--d", "--ff", "--tflops", "--nic-gbs", "--nvlink-gbs", "--weight-mb",
                                   "--state-mb", "--iterations-per-step"}) {
    Fails(With("replay", {option, "5"}), option + " requires --costs");
    const bool home_alone = option == "--nvlink-gbs";
    EXPECT_EQ(Ctl(With("replay", {option, "5", "--costs", "home"})).code, kExitOk) << option;
    EXPECT_EQ(Ctl(With("replay", {option, "5", "--costs", "ring"})).code, home_alone ? kExitUsage : kExitOk);
  }
  Fails(With("replay", {"--nvlink-gbs", "5", "--costs", "ring"}),
        "--nvlink-gbs: found with --costs ring, allowed is --costs home");

  WriteArray(tokens, "|u1", "(2, 2)", std::string("\0\1\2\3", 4));
  for (const std::string command : {"replay", "place"}) {
    const auto sample = [&](const std::string& strategy) {
      return With(command, {"--gpus-per-node", "1", "--tokens", tokens, "--strategy", strategy});
    };
    for (const std::string strategy : {"auto", "splitpack"}) {
      Fails(sample(strategy), "--tokens: found " + tokens + ", which " + strategy +
                                  " would not read, allowed is with coactivation, kmeans or genetic");
    }
    Fails(sample("x"), "unknown layer strategy");
    EXPECT_EQ(Ctl(sample("kmeans")).code, kExitOk);
  }
  std::vector<std::string> compared =
      With("replay", {"--gpus-per-node", "1", "--tokens", tokens, "--strategy", "eplb", "--compare", "auto"});
  compared.insert(compared.end(), {"--html", html});
  Fails(compared, "which eplb and auto would not read");
  EXPECT_FALSE(std::filesystem::exists(html));
  compared[compared.size() - 3] = "coactivation";
  EXPECT_EQ(Ctl(compared).code, kExitOk) << "one of them reads it";
  EXPECT_TRUE(std::filesystem::exists(html));
}

TEST_F(ReplayInput, SeedsAreNotNegative) {
  for (const std::string command : {"replay", "place"}) {
    for (const std::string seed : {"-1", "x", "1.5", "18446744073709551616"}) {
      Fails(With(command, {"--seed", seed}),
            "--seed: found " + seed + ", allowed is 0..18446744073709551615");
    }
    EXPECT_EQ(Ctl(With(command, {"--seed", "18446744073709551615"})).code, kExitOk);
  }
}

// Loads without steps are as hostile as recordings, and errors name their file too.
TEST_F(ReplayInput, PlaceNamesTheFileOfItsLoads) {
  const std::string array = folder_.path() + "/array.npy";
  const auto refused = [&](const std::string& dtype, const std::string& shape, const std::string& values,
                           const std::string& text) {
    WriteArray(array, dtype, shape, values);
    Fails({"place", "--loads", array, "--gpus", "2", "--slots", "3"}, array + ": " + text);
  };
  refused("<i1", "(2, 2)", "\1\2\3\xff", "loads: layer 1, expert 1: found -1, allowed is 0 or more");
  refused("<u8", "(1, 2)", std::string(16, '\x70'), "loads: layer 0, expert 0: found 8102099357864587376");
  refused("<u8", "(1, 2)", std::string(16, '\xff'), ".npy: value 0: found 18446744073709551615");
  refused("<i1", "(0, 4)", "", "loads: found 0 layers and 4 experts, allowed is 1 or more of both");
  refused("<i1", "(4, 0)", "", "loads: found 4 layers and 0 experts");
  refused("<i1", "(4,)", "abcd", "loads: found 1 dimensions, allowed is [layer][expert], or a recording");
  refused("<i1", "(1, 2, 2)", "abcd", "loads: found 3 dimensions");
  // Two steps of nearly as much as a microbatch may have.
  const std::string much("\0\0\0\0\0\0\1\0", 8);
  refused("<u8", "(2, 1, 1, 1)", much + much, "loads: layer 0: the sum over all steps is above ");
}

}  // namespace
}  // namespace ballast
