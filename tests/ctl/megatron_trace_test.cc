#include "ctl/megatron_trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "replay/load_trace.h"

namespace ballast {
namespace {

using ::testing::HasSubstr;

std::string Line(int step, int layer, int rank, const std::string& chosen, const std::string& more = "") {
  return "{\"step\": " + std::to_string(step) + ", \"layer\": " + std::to_string(layer) +
         ", \"rank\": " + std::to_string(rank) + ", \"top_indices\": " + chosen + more + "}";
}

TEST(MegatronTrace, LinesBecomeAnArray) {
  MegatronTrace trace(0, 1);
  int number = 0;
  const auto add = [&](const std::string& line) {
    const absl::Status status = trace.AddLine("line " + std::to_string(++number), line);
    ASSERT_TRUE(status.ok()) << status;
  };
  // Steps 5 and 7, layers 2 and 3, ranks 0 and 4, one microbatch; not in order, as several files give them.
  for (int step : {7, 5}) {
    for (int rank : {4, 0}) {
      add(Line(step, 3, rank, "[[0, 1], [1, 2]]", ", \"num_tokens\": 2, \"topk\": 2, \"time\": 0.5"));
      add(Line(step, 2, rank, rank == 0 ? "[[3, 0]]" : "[[3, 1]]", ", \"stage\": 0, \"block\": 0"));
      add("");
    }
  }
  const auto bytes = trace.Loads();
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  const NpyArray array = NpyArray::Parse(*bytes).value();
  EXPECT_EQ(array.shape(), (std::vector<int64_t>{2, 2, 1, 2, 4}));
  std::vector<int64_t> first;  // step 5, layer 2: ranks 0 and 4
  for (int64_t i = 0; i < 8; ++i) first.push_back(*array.At(i));
  EXPECT_EQ(first, (std::vector<int64_t>{1, 0, 0, 1, 0, 1, 0, 1}));
  const LoadTrace loads = LoadTrace::FromArray(array).value();
  EXPECT_EQ(loads.Sample(1, 1), (std::vector<int64_t>{2, 4, 2, 0}));

  const NpyArray tokens = NpyArray::Parse(trace.Tokens().value()).value();  // of layer 3
  EXPECT_EQ(tokens.shape(), (std::vector<int64_t>{8, 2}));
  EXPECT_EQ(*tokens.At(0), 0);
  EXPECT_EQ(*tokens.At(3), 2);
}

TEST(MegatronTrace, LinesOfOneRankAreMicrobatches) {
  MegatronTrace trace(6, -1);
  for (const char* chosen : {"[[0]]", "[[5], [5]]"})
    ASSERT_TRUE(trace.AddLine("x", Line(0, 0, 0, chosen)).ok());
  const LoadTrace loads = LoadTrace::FromArray(NpyArray::Parse(trace.Loads().value()).value()).value();
  EXPECT_EQ(loads.microbatches(), 2);
  EXPECT_EQ(loads.Microbatch(0, 0, 0), (std::vector<int64_t>{1, 0, 0, 0, 0, 0}));
  EXPECT_EQ(loads.Microbatch(0, 0, 1), (std::vector<int64_t>{0, 0, 0, 0, 0, 2}));
  EXPECT_FALSE(trace.Tokens().ok());
}

TEST(MegatronTrace, OtherLinesAreRefused) {
  const auto refused = [](const std::string& line, const std::string& text) {
    MegatronTrace trace(8, 0);
    const absl::Status status = trace.AddLine("a.jsonl, line 3", line);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << line;
    EXPECT_THAT(std::string(status.message()), HasSubstr("a.jsonl, line 3: "));
    EXPECT_THAT(std::string(status.message()), HasSubstr(text));
  };
  refused("step 3: 1 2 3", "expected a JSON object");
  refused("[1]", "expected a JSON object");
  refused("{\"step\": 1", "expected a JSON object");
  refused("{\"layer\": 1, \"rank\": 0, \"top_indices\": []}", "'step' is missing");
  refused(Line(-1, 0, 0, "[]"), "step: found -1");
  refused("{\"step\": 1.5, \"layer\": 1, \"rank\": 0, \"top_indices\": []}", "step: found 1.5");
  refused("{\"step\": 1, \"layer\": 1, \"rank\": \"a\", \"top_indices\": []}", "rank: found \"a\"");
  refused("{\"step\": 1, \"layer\": 1, \"rank\": 0}", "top_indices: expected");
  refused(Line(0, 0, 0, "[1, 2]"), "top_indices[0]: expected a list");
  refused(Line(0, 0, 0, "[[1, 2], [1]]"), "top_indices[1]: expected a list of 2");
  refused(Line(0, 0, 0, "[[1, 8]]"), "top_indices[0]: found 8, allowed is 0..7");
  refused(Line(0, 0, 0, "[[1, -1]]"), "top_indices[0]: found -1");
  refused(Line(0, 0, 0, "[[1, NaN]]"), "expected a JSON object");
  refused(Line(0, 0, 0, "[[1, 1e99]]"), "top_indices[0]: found 1e+99");
  refused(Line(0, 0, 0, "[[1]]", ", \"num_tokens\": 2"), "num_tokens: found 2, top_indices has 1");
  refused(Line(0, 0, 0, "[[1]]", ", \"topk\": 2"), "expected a list of 2");
}

TEST(MegatronTrace, HolesAreRefused) {
  const auto refused = [](const std::vector<std::string>& lines, const std::string& text) {
    MegatronTrace trace(0, 0);
    for (const std::string& line : lines) ASSERT_TRUE(trace.AddLine("x", line).ok()) << line;
    EXPECT_THAT(std::string(trace.Loads().status().message()), HasSubstr(text));
  };
  refused({}, "found no line");
  refused({Line(0, 0, 0, "[]")}, "found no token");
  refused({Line(0, 0, 0, "[[1]]"), Line(0, 1, 0, "[[1]]"), Line(1, 0, 0, "[[1]]")},
          "step 1: found 1 layers, the first step has 2");
  refused({Line(0, 0, 0, "[[1]]"), Line(1, 1, 0, "[[1]]")}, "the first step has other layers");
  refused({Line(0, 0, 0, "[[1]]"), Line(0, 0, 1, "[[1]]"), Line(0, 1, 0, "[[1]]")},
          "layer 1: found 1 ranks, the first layer has 2");
  refused({Line(0, 0, 0, "[[1]]"), Line(1, 0, 0, "[[1]]"), Line(1, 0, 0, "[[1]]")},
          "step 1, stage 0, block 0, layer 0, rank 0: found 2 microbatches, the first has 1");
}

}  // namespace
}  // namespace ballast
