// Messages as JSON and YAML, and back through the strict reader.
#include "wire/message_json.h"

#include <gtest/gtest.h>

#include <limits>

#include "ballast/v1/control.pb.h"
#include "ballast/v1/session.pb.h"
#include "tests/wire/random_values.h"
#include "wire/convert_plan.h"
#include "wire/job_reader.h"

namespace ballast {
namespace {

TEST(MessageJson, FieldsKeepTheirNamesAndKinds) {
  v1::JobStatus status;
  status.set_name("demo");
  status.set_state(v1::JOB_STATE_RUNNING);
  status.set_step(int64_t{1} << 60);
  status.set_tokens_per_s(0.1);
  status.set_eta_s(std::numeric_limits<double>::quiet_NaN());
  status.add_workers("w0");
  status.add_evaluations()->set_source("a\"b");
  nlohmann::ordered_json json = ToJson(status);
  EXPECT_EQ(json["state"], "RUNNING");
  EXPECT_EQ(json["step"].dump(), "1152921504606846976");
  EXPECT_EQ(json["tokens_per_s"].dump(), "0.1");
  EXPECT_TRUE(json["eta_s"].is_null());
  EXPECT_EQ(json["evaluations"].dump(), R"([{"step":0,"source":"a\"b","loss":0.0}])");
  EXPECT_EQ(json["recent_steps"].dump(), "[]");
}

TEST(MessageJson, ListsOfListsAreLists) {
  v1::LayerPlan layer;
  layer.add_slots()->add_experts(3);
  layer.mutable_slots(0)->add_experts(-1);
  layer.add_slots();
  layer.mutable_split()->set_kind(v1::SPLIT_KIND_EVEN);
  EXPECT_EQ(ToJson(layer).dump(), R"({"slots":[[3,-1],[]],"split":{"kind":"even","fractions":[]}})");
  EXPECT_EQ(YamlText(ToJson(layer)),
            "slots:\n"
            "  - [3, -1]\n"
            "  - []\n"
            "split:\n"
            "  kind: even\n"
            "  fractions: []\n");
}

TEST(MessageJson, MapsAreSortedAndBytesHexadecimal) {
  v1::Hello hello;
  (*hello.mutable_labels())["zone"] = "b";
  (*hello.mutable_labels())["rack"] = "7";
  EXPECT_EQ(ToJson(hello)["labels"].dump(), R"({"rack":"7","zone":"b"})");
  v1::RendezvousPut put;
  put.set_value(std::string("\0\xff", 2));
  EXPECT_EQ(ToJson(put)["value"], "00ff");
}

TEST(MessageJson, YamlQuotesWhatOtherReadersWouldTakeForSomethingElse) {
  nlohmann::ordered_json json = {{"a", "plain-1"},   {"b", "true"},  {"c", "12"},
                                 {"d", "x: y"},      {"e", ""},      {"f", "No"},
                                 {"g", "./build/x"}, {"h", nullptr}, {"i", "\xc3\xa9 \n"}};
  EXPECT_EQ(YamlText(json),
            "a: plain-1\nb: \"true\"\nc: \"12\"\nd: \"x: y\"\ne: \"\"\nf: \"No\"\ng: \"./build/x\"\nh: null\n"
            "i: \"\xc3\xa9 \\n\"\n");
}

// What is printed can be read again, in both languages, with the same result.
TEST(MessageJson, PrintedJobsCanBeReadAgain) {
  for (int seed = 1; seed <= 100; ++seed) {
    Rng rng(seed);
    v1::JobSpec spec = SpecFromJob(RandomJob(rng));
    for (const auto& [name, text] : {std::pair<const char*, std::string>{"j.json", JsonText(ToJson(spec))},
                                     {"j.yaml", YamlText(ToJson(spec))}}) {
      v1::JobSpec back;
      auto read = ReadStrict({name, text}, &back);
      ASSERT_TRUE(read.ok()) << "seed " << seed << ": " << read.status() << "\n" << text;
      EXPECT_EQ(JsonText(ToJson(back)), JsonText(ToJson(spec))) << "seed " << seed;
      EXPECT_TRUE(JobFromSpec(back).ok());
    }
  }
}

}  // namespace
}  // namespace ballast
