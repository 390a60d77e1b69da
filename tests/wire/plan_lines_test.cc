#include "wire/plan_lines.h"

#include <gtest/gtest.h>

#include <string>

#include "wire/message_json.h"
#include "wire/plan_file.h"

namespace ballast {
namespace {

TEST(PlanLines, BecomeAPlanFile) {
  const SourceText source{
      "plans.jsonl",
      "{\"step\": 10, \"layer\": 1, \"hosts\": [[3, 0], [1], [3, 2]]}\n\n"
      "{\"step\":10,\"layer\":0,\"hosts\":[[0,1],[1,2,3]],\"frac\":[[1.0,0.25],[0.75,1,1]]}\n"};
  EXPECT_TRUE(ArePlanLines(source));
  auto file = ReadPlanLines(source);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(ToJson(*file).dump(),
            "{\"layers\":[{\"layer\":1,\"hosts\":[[3,0],[1],[3,2]],\"split\":{\"kind\":\"exact\","
            "\"fractions\":[]}},{\"layer\":0,\"hosts\":[[0,1],[1,2,3]],\"split\":{\"kind\":\"fractions\","
            "\"fractions\":[[65536,16384],[49152,65536,65536]]}}],\"homes\":[]}");
}

TEST(PlanLines, SharesAreMadeToSumUp) {
  auto file = ReadPlanLines(
      {"x.jsonl", R"({"layer": 0, "hosts": [[0], [0], [0]], "frac": [[0.333], [0.333], [0.333]]})"});
  ASSERT_TRUE(file.ok()) << file.status();
  int64_t sum = 0;
  for (const auto& row : file->layers(0).split().fractions()) sum += row.fractions(0);
  EXPECT_EQ(sum, 65536);
}

TEST(PlanLines, AreToldFromPlanFiles) {
  EXPECT_TRUE(ArePlanLines({"(standard input)", "{\"layer\": 0, \"hosts\": [[0]]}\n"}));
  EXPECT_FALSE(ArePlanLines({"p.json", R"({"base_version": 1, "layers": [{"layer": 0, "hosts": [[0]]}]})"}));
  EXPECT_FALSE(ArePlanLines({"p.yaml", "base_version: 1\nlayers: []\n"}));
  EXPECT_FALSE(ArePlanLines({"p.yaml", ""}));
}

TEST(PlanLines, WhatIsRefused) {
  const std::pair<const char*, const char*> cases[] = {
      {"\n \n", "x.jsonl: found no line, allowed one or more"},
      {"{\"hosts\": [[0]]}", "x.jsonl:1:1: layer: found nothing, allowed a MoE layer, from 0"},
      {"{\"layer\": 0}", "x.jsonl:1:1: hosts: found nothing, allowed a list of experts for each rank"},
      {"{\"layer\": 0, \"hosts\": [[0]]}\n{\"layer\": 0, \"hosts\": [[0]]}",
       "x.jsonl:2:2: layer: found layer 0 a second time, allowed once: take the lines of one step"},
      {"{\"layer\": 0, \"hosts\": [[0], [1]], \"frac\": [[1]]}",
       "x.jsonl:1:35: frac: found 1 lists, allowed 2 (as in hosts)"},
      {"{\"layer\": 0, \"hosts\": [[0], [1]], \"frac\": [[1], []]}",
       "x.jsonl:1:49: frac[1]: found 0 numbers, allowed 1 (as in hosts)"},
      {"{\"layer\": 0, \"hosts\": [[0], [1]], \"frac\": [[1], [1.5]]}",
       "x.jsonl:1:50: frac[1][0]: found 1.5, allowed 0..1"},
      {"{\"layer\": 0, \"hosts\": [[0], [1]], \"frac\": [[1], [0]]}",
       "x.jsonl:1:35: frac: found shares of expert 1 that sum to 0, allowed a sum of 1"},
  };
  for (const auto& [text, message] : cases) {
    EXPECT_EQ(ReadPlanLines({"x.jsonl", text}).status().message(), message) << text;
  }
  EXPECT_EQ(ReadPlanLines({"x.jsonl", "{\"layer\": 0, \"hosts\": [[0]], \"slots\": 1}"}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace ballast
