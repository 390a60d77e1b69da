// ballastctl replay and trace import, as a user calls them.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "ctl/cli.h"
#include "ctl/exit_code.h"
#include "tests/base/temp_dir.h"
#include "wire/plan_file.h"

namespace ballast {
namespace {

struct Result {
  int code = 0;
  std::string out;
  std::string err;
};

Result Ctl(const std::vector<std::string>& arguments) {
  std::ostringstream out, err;
  const int code = RunCli(arguments, out, err, false);
  return {code, out.str(), err.str()};
}

// Four iterations of two ranks: 1 layer, 1 microbatch, 4 experts, the first of them hot.
std::string ImportedTrace(const TempDir& folder) {
  for (const int iteration : {1, 11, 21, 31}) {
    for (const int rank : {0, 1}) {
      std::ofstream(folder.path() + "/table_iter" + std::to_string(iteration) + "_rank" +
                    std::to_string(rank) + ".log")
          << "0:[[500.0, 100.0, 100.0, 100.0]]\n";
    }
  }
  const std::string array = folder.path() + "/trace.npy";
  const Result result = Ctl({"trace", "import", "smartmoe", folder.path(), "--out", array});
  EXPECT_EQ(result.code, kExitOk) << result.err;
  EXPECT_NE(result.out.find("4 steps, 1 layers, 1 microbatches, 2 sources, 4 experts"), std::string::npos)
      << result.out;
  return array;
}

TEST(ReplayCommand, FiguresAndPlansOfAnImportedTrace) {
  TempDir folder;
  const std::string loads = ImportedTrace(folder), plans = folder.path() + "/plans.jsonl";
  const Result result = Ctl({"replay", "--loads", loads, "--gpus", "2", "--slots", "3", "--strategy",
                             "splitpack", "--costs", "ring", "--plans-out", plans, "-o", "json"});
  ASSERT_EQ(result.code, kExitOk) << result.err;
  const nlohmann::json json = nlohmann::json::parse(result.out);
  // Row 0: 1200 of 800 on the busiest rank; then the hot expert is on both.
  EXPECT_NEAR(json["max_over_mean"], (1200.0 + 3 * 800) / 3200, 1e-9);
  EXPECT_NEAR(json["static_max_over_mean"], 1.5, 1e-9);
  EXPECT_NEAR(json["bound_with_replicas"], 1, 1e-6);
  EXPECT_NEAR(json["bound_no_replicas"], 1.25, 1e-6);
  EXPECT_NEAR(json["share_of_oracle_gain"], 0.75, 1e-6);
  EXPECT_EQ(json["layers"].size(), 1u);
  EXPECT_GT(json["hours"]["sync"], 0.0);
  EXPECT_GE(json["plan_ms"]["p99"], json["plan_ms"]["p50"]);

  std::ifstream file(plans);
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(nlohmann::json::parse(line));
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0], nlohmann::json::parse(R"({"step": 0, "layer": 0, "hosts": [[0, 1], [2, 3]]})"));
  EXPECT_EQ(lines[1]["step"], 1);

  const Result people =
      Ctl({"replay", "--loads", loads, "--gpus", "2", "--slots", "3", "--strategy", "splitpack"});
  EXPECT_NE(people.out.find("slot writes per layer"), std::string::npos) << people.out;
  EXPECT_NE(people.out.find("1.1250"), std::string::npos) << people.out;
}

// Only what figures are counted with.
TEST(ReplayCommand, PlanLinesHaveSharesUnlessTheSplitIsExact) {
  TempDir folder;
  const std::string loads = ImportedTrace(folder), plans = folder.path() + "/plans.jsonl";
  for (const std::string strategy : {"eplb", "splitpack"}) {
    for (const std::string split : {"exact", "fractions", "even"}) {
      const Result result = Ctl({"replay", "--loads", loads, "--gpus", "2", "--slots", "3", "--strategy",
                                 strategy, "--split", split, "--plans-out", plans});
      ASSERT_EQ(result.code, kExitOk) << result.err;
      std::ifstream file(plans);
      int lines = 0;
      for (std::string line; std::getline(file, line); ++lines) {
        const nlohmann::json json = nlohmann::json::parse(line);
        ASSERT_EQ(json.contains("frac"), split != "exact") << strategy << ", " << split << ": " << line;
        if (split == "exact") continue;
        ASSERT_EQ(json["frac"].size(), json["hosts"].size());
        std::vector<double> sums(4, 0), copies(4, 0);
        for (size_t g = 0; g < json["hosts"].size(); ++g) {
          ASSERT_EQ(json["frac"][g].size(), json["hosts"][g].size()) << line;
          for (size_t i = 0; i < json["hosts"][g].size(); ++i) {
            sums[json["hosts"][g][i]] += json["frac"][g][i].get<double>();
            ++copies[json["hosts"][g][i]];
            if (split == "even" && lines > 0 && json["hosts"][g][i] == 0) {
              EXPECT_EQ(json["frac"][g][i], 0.5) << line;
            }
          }
        }
        EXPECT_EQ(sums, std::vector<double>(4, 1)) << line;
        if (lines > 0) {
          EXPECT_EQ(copies[0], 2) << line;
        }
      }
      EXPECT_GE(lines, 2) << strategy << ", " << split;
    }
  }
}

// Well-formed, complete, and without anything that a browser would fetch.
TEST(ReplayCommand, TheReportStandsAlone) {
  TempDir folder;
  const std::string loads = ImportedTrace(folder), html = folder.path() + "/report.html";
  const Result result = Ctl({"replay", "--loads", loads, "--gpus", "2", "--slots", "3", "--strategy",
                             "splitpack", "--compare", "contiguous,eplb", "--costs", "ring", "--html", html});
  ASSERT_EQ(result.code, kExitOk) << result.err;
  std::stringstream text;
  text << std::ifstream(html).rdbuf();
  const std::string page = text.str();
  for (const char* outside : {"http:", "https:", "src=", "href=", "url(", "@import", "<script"}) {
    EXPECT_EQ(page.find(outside), std::string::npos) << outside;
  }
  for (const char* part : {"splitpack", "contiguous", "eplb", "Layer 0", "Hours", "slot writes per layer",
                           "No placement in these slots is below 1.0000", "</html>"}) {
    EXPECT_NE(page.find(part), std::string::npos) << part;
  }
  // Every chart has a line for each strategy: two over time, and one for the layer.
  size_t lines = 0, charts = 0, ends = 0;
  for (size_t at = 0; (at = page.find("<polyline", at)) != std::string::npos; ++at) ++lines;
  for (size_t at = 0; (at = page.find("<svg", at)) != std::string::npos; ++at) ++charts;
  for (size_t at = 0; (at = page.find("</svg>", at)) != std::string::npos; ++at) ++ends;
  EXPECT_EQ(lines, 9u);
  EXPECT_EQ(charts, 5u);
  EXPECT_EQ(charts, ends);
  EXPECT_EQ(page.find("nan"), std::string::npos);
  EXPECT_EQ(page.find("inf"), std::string::npos);
  EXPECT_EQ(
      Ctl({"replay", "--loads", loads, "--gpus", "2", "--slots", "3", "--compare", "best", "--html", html})
          .code,
      kExitUsage);
}

// What place writes is a plan file, and what replay writes is one line by line.
TEST(PlaceCommand, WritesPlanFiles) {
  TempDir folder;
  const std::string loads = ImportedTrace(folder);
  const std::vector<std::string> command = {"place",   "--loads", loads,    "--gpus", "2",
                                            "--slots", "3",       "--base", "4"};
  const Result table = Ctl(command);
  ASSERT_EQ(table.code, kExitOk) << table.err;
  EXPECT_NE(table.out.find("1.500"), std::string::npos) << table.out;
  for (const char* format : {"yaml", "json"}) {
    std::vector<std::string> with_format = command;
    with_format.insert(with_format.end(), {"-o", format});
    const Result result = Ctl(with_format);
    ASSERT_EQ(result.code, kExitOk) << result.err;
    const auto file = ReadPlanFile({std::string("plan.") + format, result.out});
    ASSERT_TRUE(file.ok()) << file.status() << "\n" << result.out;
    EXPECT_EQ(file->file.base_version(), 4);
    ASSERT_EQ(file->file.layers_size(), 1);
    int copies_of_hot = 0;
    for (const auto& rank : file->file.layers(0).hosts()) {
      for (int expert : rank.experts()) copies_of_hot += expert == 0;
    }
    EXPECT_EQ(copies_of_hot, 2) << result.out;
  }
  // One copy of the hot expert is 1.25 at best.
  const Result sample =
      Ctl({"place", "--loads", loads, "--gpus", "2", "--slots", "3", "--strategy", "kmeans"});
  EXPECT_EQ(sample.code, kExitUsage) << sample.err;
  EXPECT_NE(sample.err.find("kmeans needs a co-activation sample"), std::string::npos) << sample.err;
}

TEST(ReplayCommand, ARouterTraceGivesLoadsAndATokenSample) {
  TempDir folder;
  // Two ranks, a file each: tokens choose experts 0 and 2, or 1 and 3.
  for (const int rank : {0, 1}) {
    std::ofstream file(folder.path() + "/rank" + std::to_string(rank) + ".jsonl");
    for (int step = 0; step < 4; ++step) {
      file << "{\"step\": " << step << ", \"layer\": 0, \"rank\": " << rank
           << ", \"top_indices\": [[0, 2], [1, 3]]}\n";
    }
  }
  const std::string loads = folder.path() + "/loads.npy", tokens = folder.path() + "/tokens.npy";
  const Result import = Ctl({"trace", "import", "megatron-jsonl", folder.path(), "--out", loads,
                             "--tokens-out", tokens, "-o", "json"});
  ASSERT_EQ(import.code, kExitOk) << import.err;
  EXPECT_EQ(nlohmann::json::parse(import.out)["shape"], (std::vector<int>{4, 1, 1, 2, 4}));
  const std::string plans = folder.path() + "/plans.out";
  const Result result =
      Ctl({"replay", "--loads", loads, "--gpus", "2", "--gpus-per-node", "1", "--slots", "2", "--strategy",
           "coactivation", "--tokens", tokens, "--costs", "home", "--plans-out", plans, "-o", "json"});
  ASSERT_EQ(result.code, kExitOk) << result.err;
  EXPECT_GT(nlohmann::json::parse(result.out)["hours"]["sync"], 0.0) << "experts left their homes";
  std::stringstream lines;
  lines << std::ifstream(plans).rdbuf();
  const bool together = lines.str().find("[[0,2],[1,3]]") != std::string::npos ||
                        lines.str().find("[[2,0],[3,1]]") != std::string::npos ||
                        lines.str().find("[[0,2],[3,1]]") != std::string::npos ||
                        lines.str().find("[[2,0],[1,3]]") != std::string::npos;
  EXPECT_TRUE(together) << lines.str();
}

// An .npy of single bytes.
void WriteBytes(const std::string& path, const std::string& shape, const std::string& values) {
  std::string header = "{'descr': '|u1', 'fortran_order': False, 'shape': " + shape + ", }";
  header.resize(117, ' ');
  std::ofstream(path, std::ios::binary) << std::string("\x93NUMPY\x01\x00\x76\x00", 10) << header << "\n"
                                        << values;
}

TEST(PlaceCommand, ChoosesSequencesForRanks) {
  TempDir folder;
  const std::string loads = ImportedTrace(folder), tokens = folder.path() + "/tokens.npy",
                    out = folder.path() + "/sequences.json";
  // Six sequences of two tokens: the odd ones choose experts 0 and 2, the even ones 1 and 3.
  const std::string even("\1\3\3\1", 4), odd("\0\2\2\0", 4);
  WriteBytes(tokens, "(1, 12, 2)", even + odd + even + odd + even + odd);
  for (const std::string strategy : {"kmeans", "genetic"}) {
    for (const std::string command : {"place", "replay"}) {
      const Result result =
          Ctl({command, "--loads", loads, "--gpus", "2", "--gpus-per-node", "1", "--slots", "2", "--strategy",
               strategy, "--tokens", tokens, "--sequence-length", "2", "--sequences-out", out});
      ASSERT_EQ(result.code, kExitOk) << command << ": " << result.err;
      std::ifstream file(out);
      const nlohmann::json json = nlohmann::json::parse(file);
      EXPECT_EQ(json["sequence_length"], 2);
      EXPECT_EQ(json["sequences"], 6);
      const auto first = nlohmann::json::parse("[[0, 2, 4], [1, 3, 5]]"),
                 second = nlohmann::json::parse("[[1, 3, 5], [0, 2, 4]]");
      EXPECT_TRUE(json["ranks"] == first || json["ranks"] == second) << json;
      // Contiguous: experts 0 and 1 on the first rank, half of what any sequence chooses.
      EXPECT_EQ(json["off_node"]["contiguous"], 0.5);
      EXPECT_EQ(json["off_node"]["chosen"], 0.0) << json;
      EXPECT_EQ(json["off_rank"]["chosen"], 0.0);
      EXPECT_GT(json["off_node"]["in_order"], 0.3);
    }
  }
  const auto fails = [&](const std::vector<std::string>& more, const std::string& text) {
    std::vector<std::string> command = {"place", "--loads", loads, "--gpus",   "2",   "--gpus-per-node",
                                        "1",     "--slots", "2",   "--tokens", tokens};
    command.insert(command.end(), more.begin(), more.end());
    const Result result = Ctl(command);
    EXPECT_NE(result.code, kExitOk) << text;
    EXPECT_NE(result.err.find(text), std::string::npos) << result.err;
    command[0] = "replay";
    EXPECT_NE(Ctl(command).err.find(text), std::string::npos) << text;
  };
  const std::vector<std::string> kmeans = {"--strategy", "kmeans", "--sequence-length"};
  const auto with = [&](const std::string& length) {
    std::vector<std::string> all = kmeans;
    all.push_back(length);
    return all;
  };
  fails(with("5"), "tokens.npy: tokens: found 12 in a layer, allowed is a multiple of the sequence length 5");
  fails(with("0"), "--sequence-length");
  fails({"--strategy", "splitpack", "--sequence-length", "2"}, "allowed is kmeans or genetic");
  fails({"--strategy", "kmeans"}, "found 3 dimensions, allowed is [token][k]");
  fails({"--strategy", "kmeans", "--sequences-out", out}, "--sequence-length");
  WriteBytes(tokens, "(3, 4, 2)", even + odd + even + odd + even + odd);
  fails(with("2"), "tokens: found 3 layers, allowed is 1, or the 1 of the loads");
  WriteBytes(tokens, "(4, 1)", std::string("\0\1\4\0", 4));
  fails(with("2"), "tokens: layer 0, token 2: found expert 4, allowed is 0..3");
  WriteBytes(tokens, "(4,)", std::string(4, '\0'));
  fails(with("2"), "found 1 dimensions, allowed is [layer][token][k] or [token][k]");
  WriteBytes(tokens, "(0, 2)", "");
  fails(with("2"), "allowed is 1 or more");
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }";
  header.resize(117, ' ');
  std::ofstream(tokens, std::ios::binary) << std::string("\x93NUMPY\x01\x00\x76\x00", 10) << header << "\n"
                                          << std::string(8, '\0');
  fails(with("2"), "<f4");
}

TEST(ReplayCommand, BadInputIsAClearError) {
  TempDir folder;
  const std::string loads = ImportedTrace(folder);
  auto fails = [&](std::vector<std::string> arguments, const std::string& text) {
    const Result result = Ctl(arguments);
    EXPECT_EQ(result.code, kExitUsage) << text << ": " << result.err;
    EXPECT_NE(result.err.find(text), std::string::npos) << result.err;
    EXPECT_EQ(result.out, "");
  };
  for (const std::string command : {"replay", "place"}) {
    std::vector<std::string> good = {command, "--loads", loads, "--gpus", "2", "--slots", "2"};
    const auto with = [&good](const std::string& option, const std::string& value) {
      std::vector<std::string> all = good;
      all.insert(all.end(), {option, value});
      return all;
    };
    good[2] = folder.path() + "/none.npy";
    fails(good, "none.npy: cannot be opened");
    good[2] = folder.path();
    fails(good, folder.path() + ": found a folder, allowed is a regular file");
    good[2] = "/dev/null";
    fails(good, "/dev/null: found a device, allowed is a regular file");
    good[2] = loads;
    fails(with("--tokens", folder.path()), folder.path() + ": found a folder, allowed is a regular file");
    fails(with("--strategy", "x"), "unknown layer strategy");
    good[6] = "2000000000";
    fails(good, "slots of rank 0: found 2000000000, allowed is 0..65536");
  }
  for (const std::string& file : {folder.path(), folder.path() + "/none.csv"}) {
    fails({"replay", "--loads", loads, "--gpus", "2", "--slots", "2", "--telemetry", file}, file + ": ");
  }
  fails({"trace", "import", "smartmoe", folder.path() + "/none", "--out", "x", "--shape", "1,1,1,1,2"},
        "none: cannot be opened");
  fails({"trace", "import", "megatron-jsonl", folder.path() + "/none", "--out", "x"},
        "none: cannot be opened");
  fails({"replay", "--loads", loads, "--gpus", "2", "--slots", "1"}, "enough for 4 experts");
  fails({"replay", "--loads", loads, "--gpus", "3", "--gpus-per-node", "2", "--slots", "2"},
        "a divisor of 3");
  fails({"replay", "--loads", loads, "--gpus", "2", "--slots", "2", "--strategy", "genetic"},
        "genetic needs a co-activation sample");
  const auto write = [&](const std::string& dtype, const std::string& shape, const std::string& values) {
    std::string header = "{'descr': '" + dtype + "', 'fortran_order': False, 'shape': " + shape + ", }";
    header.resize(117, ' ');
    std::ofstream(folder.path() + "/bad.npy", std::ios::binary)
        << std::string("\x93NUMPY\x01\x00\x76\x00", 10) << header << "\n"
        << values;
  };
  const std::string bad = folder.path() + "/bad.npy";
  const std::vector<std::string> replay = {"replay", "--loads", bad, "--gpus", "2", "--slots", "2"};
  write("<i1", "(1, 1, 1, 4)", "abc");
  fails(replay, "bad.npy: .npy: ");
  write("<f4", "(1, 1, 1, 4)", std::string(16, '\0'));
  fails(replay, "<f4");
  write("<i1", "(1, 4)", "abcd");
  fails(replay, "found 2 dimensions");
  write("<i1", "(1, 1, 1, 4)",
        "ab\xff"
        "d");
  fails(replay, "expert 2: found -1");
  write("<u8", "(1, 1, 1, 2)", std::string(16, '\x70'));
  fails(replay, "expert 0: found 8102099357864587376");
  write("<i1", "(3, 2)", std::string("\0\1\2\3\0\4", 6));
  fails({"replay", "--loads", loads, "--gpus", "2", "--slots", "2", "--tokens", bad}, "bad.npy: ");
  fails({"place", "--loads", loads, "--gpus", "2", "--slots", "2", "--tokens", bad}, "bad.npy: ");
  std::ofstream(folder.path() + "/lines.jsonl") << "{\"step\": 0}\n";
  fails({"trace", "import", "megatron-jsonl", folder.path() + "/lines.jsonl", "--out", "x"},
        "lines.jsonl, line 1: 'layer' is missing");
  std::ofstream(folder.path() + "/cut.npy") << "\x93NUMPY\x01";
  fails({"replay", "--loads", folder.path() + "/cut.npy", "--gpus", "2", "--slots", "2"}, "cut.npy");
  fails({"trace", "import", "smartmoe", folder.path() + "/cut.npy", "--out", "x", "--shape", "1,2,3"},
        "shape");
}

}  // namespace
}  // namespace ballast
