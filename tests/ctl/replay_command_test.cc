// ballastctl replay and trace import, as a user calls them.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/ctl/replay_cli.h"
#include "wire/plan_file.h"

namespace ballast {
namespace {

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

TEST(PlaceCommand, ChoosesSequencesForRanks) {
  TempDir folder;
  const std::string loads = ImportedTrace(folder), tokens = folder.path() + "/tokens.npy",
                    out = folder.path() + "/sequences.json";
  // Six sequences of two tokens: the odd ones choose experts 0 and 2, the even ones 1 and 3.
  const std::string even("\1\3\3\1", 4), odd("\0\2\2\0", 4);
  WriteArray(tokens, "|u1", "(1, 12, 2)", even + odd + even + odd + even + odd);
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
  fails({"--strategy", "kmeans", "--sequences-out", out}, "--sequence-length");
  WriteArray(tokens, "|u1", "(3, 4, 2)", even + odd + even + odd + even + odd);
  fails(with("2"), "tokens: found 3 layers, allowed is 1, or the 1 of the loads");
  fails({"--strategy", "kmeans"}, "tokens: found 3 layers, allowed is 1, or the 1 of the loads");
  WriteArray(tokens, "|u1", "(4, 1)", std::string("\0\1\4\0", 4));
  fails(with("2"), "tokens: layer 0, token 2: found expert 4, allowed is 0..3");
  WriteArray(tokens, "|u1", "(4,)", std::string(4, '\0'));
  fails(with("2"), "found 1 dimensions, allowed is [layer][token][k] or [token][k]");
  fails({"--strategy", "kmeans"}, "found 1 dimensions, allowed is [layer][token][k] or [token][k]");
  WriteArray(tokens, "|u1", "(0, 2)", "");
  fails(with("2"), "allowed is 1 or more");
  WriteArray(tokens, "<f4", "(2, 1)", std::string(8, '\0'));
  fails(with("2"), "<f4");
}

}  // namespace
}  // namespace ballast
