// The strict reader on every kind of field, with the exact text of each refusal.
#include "wire/strict_reader.h"

#include <gtest/gtest.h>

#include "ballast/v1/control.pb.h"
#include "ballast/v1/job.pb.h"
#include "ballast/v1/plan_file.pb.h"

namespace ballast {
namespace {

template <class Message>
std::string ErrorOf(const std::string& text, const std::string& name = "f.yaml") {
  Message message;
  auto read = ReadStrict({name, text}, &message);
  return read.ok() ? "ok" : std::string(read.status().message());
}

TEST(StrictReader, ReadsEveryKindOfField) {
  v1::PlanFile file;
  auto positions = ReadStrict({"plan.yaml",
                               "base_version: 7\n"
                               "reason: \"12\"\n"
                               "layers:\n"
                               "  - layer: 1\n"
                               "    hosts:\n"
                               "      - [0, 3]\n"
                               "      - []\n"
                               "    split:\n"
                               "      kind: fractions\n"
                               "      fractions: [[1, 65535], []]\n"},
                              &file);
  ASSERT_TRUE(positions.ok()) << positions.status();
  EXPECT_EQ(file.base_version(), 7);
  EXPECT_EQ(file.reason(), "12");
  EXPECT_FALSE(file.has_not_before_step());
  ASSERT_EQ(file.layers_size(), 1);
  ASSERT_EQ(file.layers(0).hosts_size(), 2);
  EXPECT_EQ(file.layers(0).hosts(0).experts(1), 3);
  EXPECT_EQ(file.layers(0).hosts(1).experts_size(), 0);
  EXPECT_EQ(file.layers(0).split().kind(), v1::SPLIT_KIND_FRACTIONS);
  EXPECT_EQ(file.layers(0).split().fractions(0).fractions(1), 65535u);
  EXPECT_EQ(positions->Find("layers[0].hosts[0][1]"), (SourcePosition{6, 13}));
  EXPECT_EQ(positions->Find("layers[0].hosts"), (SourcePosition{5, 5}));
  // What is not in the file is reported where it would stand.
  EXPECT_EQ(positions->Find("layers[0].schedule.chunks"), (SourcePosition{4, 5}));
  EXPECT_EQ(positions->Find("homes"), (SourcePosition{1, 1}));
}

TEST(StrictReader, JsonReadsTheSame) {
  v1::JobSpec yaml, json;
  ASSERT_TRUE(ReadStrict({"a.yaml",
                          "name: x\ntraining:\n  seed: 18446744073709551615\n"
                          "data:\n  mixture:\n    - from_step: 1\n      weights: {a: 0.5, b: 2}\n"},
                         &yaml)
                  .ok());
  ASSERT_TRUE(
      ReadStrict({"a.json",
                  "{\"name\": \"x\", \"training\": {\"seed\": 18446744073709551615},\n"
                  "\"data\": {\"mixture\": [{\"from_step\": 1, \"weights\": {\"a\": 0.5, \"b\": 2}}]}}"},
                 &json)
          .ok());
  EXPECT_EQ(yaml.DebugString(), json.DebugString());
  EXPECT_EQ(json.training().seed(), UINT64_MAX);
  EXPECT_EQ(json.data().mixture(0).weights().at("b"), 2.0);
}

TEST(StrictReader, BadJobFiles) {
  const std::pair<const char*, const char*> cases[] = {
      {"model:\n  moe:\n    topk: 2\n",
       "f.yaml:3:5: model.moe.topk: unknown field; there are: experts, top_k, intermediate_size, "
       "load_balance_coefficient, z_loss_coefficient"},
      {"model:\n  moe:\n    topK: 2\n",
       "f.yaml:3:5: model.moe.topK: unknown field; write top_k; there are: experts, top_k, "
       "intermediate_size, "
       "load_balance_coefficient, z_loss_coefficient"},
      {"training:\n  steps: \"200\"\n",
       "f.yaml:2:3: training.steps: found the text \"200\", allowed a whole number"},
      {"training:\n  steps: 2.5\n", "f.yaml:2:3: training.steps: found 2.5, allowed a whole number"},
      {"training:\n  steps: 1e3\n", "f.yaml:2:3: training.steps: found 1e3, allowed a whole number"},
      {"training:\n  steps: 0x10\n", "f.yaml:2:3: training.steps: found 0x10, allowed a whole number"},
      {"training:\n  steps: 010\n", "f.yaml:2:3: training.steps: found 010, allowed a whole number"},
      {"training:\n  steps: 1_000\n", "f.yaml:2:3: training.steps: found 1_000, allowed a whole number"},
      {"training:\n  steps: +1\n", "f.yaml:2:3: training.steps: found +1, allowed a whole number"},
      {"training:\n  steps: true\n", "f.yaml:2:3: training.steps: found true, allowed a whole number"},
      {"training:\n  steps:\n", "f.yaml:2:3: training.steps: found nothing, allowed a whole number"},
      {"training:\n  steps: null\n", "f.yaml:2:3: training.steps: found nothing, allowed a whole number"},
      {"training:\n  steps: [1]\n", "f.yaml:2:3: training.steps: found a list, allowed a whole number"},
      {"training:\n  steps: {a: 1}\n", "f.yaml:2:3: training.steps: found a map, allowed a whole number"},
      {"training:\n  steps: 9223372036854775808\n",
       "f.yaml:2:3: training.steps: found 9223372036854775808, allowed "
       "-9223372036854775808..9223372036854775807"},
      {"training:\n  seed: -1\n", "f.yaml:2:3: training.seed: found -1, allowed 0..18446744073709551615"},
      {"training:\n  seed: 18446744073709551616\n",
       "f.yaml:2:3: training.seed: found 18446744073709551616, allowed 0..18446744073709551615"},
      {"model:\n  layers: 3000000000\n",
       "f.yaml:2:3: model.layers: found 3000000000, allowed -2147483648..2147483647"},
      {"optimizer:\n  beta1: .nan\n",
       "f.yaml:2:3: optimizer.beta1: found .nan, allowed a number such as 0.1 or 1e-5"},
      {"optimizer:\n  beta1: nan\n",
       "f.yaml:2:3: optimizer.beta1: found nan, allowed a number such as 0.1 or 1e-5"},
      {"optimizer:\n  beta1: -.inf\n",
       "f.yaml:2:3: optimizer.beta1: found -.inf, allowed a number such as 0.1 or 1e-5"},
      {"optimizer:\n  beta1: 1e999\n",
       "f.yaml:2:3: optimizer.beta1: found 1e999, allowed a number that a double can hold"},
      {"optimizer:\n  beta1: 0.9f\n",
       "f.yaml:2:3: optimizer.beta1: found 0.9f, allowed a number such as 0.1 or 1e-5"},
      {"optimizer:\n  beta1: .5\n",
       "f.yaml:2:3: optimizer.beta1: found .5, allowed a number such as 0.1 or 1e-5"},
      {"optimizer:\n  beta1: '0.9'\n",
       "f.yaml:2:3: optimizer.beta1: found the text \"0.9\", allowed a number such as 0.1 or 1e-5"},
      {"name: 12\n", "f.yaml:1:1: name: found 12, allowed text (in quotes: \"12\")"},
      {"name: 0x1f\n", "f.yaml:1:1: name: found 0x1f, allowed text (in quotes: \"0x1f\")"},
      {"name: .inf\n", "f.yaml:1:1: name: found .inf, allowed text (in quotes: \".inf\")"},
      {"name: true\n", "f.yaml:1:1: name: found true, allowed text (in quotes: \"true\")"},
      {"name: [a]\n", "f.yaml:1:1: name: found a list, allowed text"},
      {"name: \"a\\0b\"\n", "f.yaml:1:1: name: found control character 0x00, allowed printable text"},
      {"name:\n", "f.yaml:1:1: name: found nothing, allowed text"},
      {"model: 3\n", "f.yaml:1:1: model: found 3, allowed a map"},
      {"model: []\n", "f.yaml:1:1: model: found a list, allowed a map"},
      {"model:\n", "f.yaml:1:1: model: found nothing, allowed a map"},
      {"data:\n  sources: {a: b}\n", "f.yaml:2:3: data.sources: found a map, allowed a list"},
      {"data:\n  sources:\n    - english\n", "f.yaml:3:7: data.sources[0]: found english, allowed a map"},
      {"data:\n  mixture:\n    - weights: [1]\n",
       "f.yaml:3:7: data.mixture[0].weights: found a list, allowed a map"},
      {"data:\n  mixture:\n    - weights:\n        a: x\n",
       "f.yaml:4:9: data.mixture[0].weights.a: found x, allowed a number such as 0.1 or 1e-5"},
      {"- name: x\n", "f.yaml:1:1: found a list, allowed a map of fields"},
      {"just text\n", "f.yaml:1:1: found just text, allowed a map of fields"},
      {"---\n", "f.yaml:1:1: the file is empty"},
  };
  for (const auto& [text, error] : cases) EXPECT_EQ(ErrorOf<v1::JobSpec>(text), error) << text;
}

TEST(StrictReader, BadPlanFiles) {
  const std::pair<const char*, const char*> cases[] = {
      {"layers:\n  - hosts: [0, 1]\n", "f.yaml:2:13: layers[0].hosts[0]: found 0, allowed a list"},
      {"layers:\n  - hosts:\n      - [0, x]\n",
       "f.yaml:3:13: layers[0].hosts[0][1]: found x, allowed a whole number"},
      {"layers:\n  - split: even\n", "f.yaml:2:5: layers[0].split: found even, allowed a map"},
      {"layers:\n  - split: {kind: both}\n",
       "f.yaml:2:13: layers[0].split.kind: found both, allowed exact, fractions, even"},
      {"layers:\n  - split: {kind: EVEN}\n",
       "f.yaml:2:13: layers[0].split.kind: found EVEN, allowed exact, fractions, even"},
      {"layers:\n  - split: {kind: unspecified}\n",
       "f.yaml:2:13: layers[0].split.kind: found unspecified, allowed exact, fractions, even"},
      {"layers:\n  - split: {kind: 3}\n",
       "f.yaml:2:13: layers[0].split.kind: found 3, allowed exact, fractions, even"},
      {"layers:\n  - split: {fractions: [[-1]]}\n",
       "f.yaml:2:26: layers[0].split.fractions[0][0]: found -1, allowed 0..4294967295"},
  };
  for (const auto& [text, error] : cases) EXPECT_EQ(ErrorOf<v1::PlanFile>(text), error) << text;
}

TEST(StrictReader, Booleans) {
  v1::PushPlanRequest request;
  EXPECT_TRUE(ReadStrict({"a.yaml", "dry_run: true\n"}, &request).ok());
  EXPECT_TRUE(request.dry_run());
  for (const char* text : {"yes", "True", "1", "'true'"}) {
    std::string error = ErrorOf<v1::PushPlanRequest>(std::string("dry_run: ") + text + "\n");
    EXPECT_NE(error.find("allowed true or false"), std::string::npos) << error;
  }
}

TEST(StrictReader, LocateAddsThePlaceToPathsAlone) {
  v1::PlanFile file;
  auto positions = ReadStrict({"p.yaml", "base_version: 1\nreason: x\n"}, &file);
  ASSERT_TRUE(positions.ok());
  EXPECT_EQ(positions->Locate(absl::InvalidArgumentError("reason: found x, allowed y")).message(),
            "p.yaml:2:1: reason: found x, allowed y");
  EXPECT_EQ(positions->Locate(absl::NotFoundError("no such job")).message(), "p.yaml: no such job");
  EXPECT_TRUE(positions->Locate(absl::OkStatus()).ok());
}

TEST(StrictReader, LongTextsAreCutInErrors) {
  std::string error = ErrorOf<v1::JobSpec>("training:\n  steps: " + std::string(5000, 'x') + "\n");
  EXPECT_EQ(error,
            "f.yaml:2:3: training.steps: found " + std::string(40, 'x') + "..., allowed a whole number");
}

}  // namespace
}  // namespace ballast
