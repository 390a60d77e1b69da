#include "ctl/telemetry_text.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <sstream>

#include "ballast/v1/control.pb.h"

namespace ballast {
namespace {

template <class Message>
Message Read(const std::string& text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message));
  return message;
}

bool Has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(TelemetryText, TopShowsRanksLayersAndLinks) {
  const auto telemetry = Read<v1::GetTelemetryResponse>(R"(
    job: "demo" step: 40 steps: 100 plan_version: 3 loss: 2.5 tokens_per_s: 1234 reports_dropped: 7
    ranks { rank: 0 worker: "w0" node: "a" attached: true step: 40 seconds: 0.02 wait_seconds: 0.005
            mean_seconds: 0.021 assignments: 288 bytes_sent: 2500
            phases { phase: "dispatch" seconds: 0.001 } phases { phase: "dispatch_backward" seconds: 0.002 }
            phases { phase: "experts" seconds: 0.004 }
            links { peer: 1 bytes_sent: 1500 receive_seconds: 0.004 }
            links { peer: 2 bytes_sent: 1000 receive_seconds: 0.009 } }
    ranks { rank: 1 worker: "w1" node: "b" }
    layers { layer: 0 imbalance: 1.5 variation: 0.25 hottest { expert: 6 share: 0.31 } hottest { expert: 2 share: 0.2 } }
    topology { nodes { name: "a" ranks: 0 } nodes { name: "b" ranks: 1 ranks: 2 }
               links { from_node: "a" to_node: "b" latency_seconds: 0.00005 bytes_per_second: 2.5e9 age_seconds: 12 }
               links { from_node: "b" to_node: "a" failures: 2 last_failure: "no answer for 2 s" } })");
  std::ostringstream out;
  PrintTop(telemetry, out);
  const std::string text = out.str();
  EXPECT_TRUE(Has(text, "job demo, step 40 of 100, plan 3, loss 2.5000, 1234 tokens/s, 7 reports dropped\n"))
      << text;
  EXPECT_TRUE(Has(text, "2 (9.0)")) << "the slowest peer\n" << text;
  EXPECT_TRUE(Has(text, "2.5 KB")) << text;
  EXPECT_TRUE(Has(text, "away")) << text;
  EXPECT_TRUE(Has(text, "6 (31.0%), 2 (20.0%)")) << text;
  EXPECT_TRUE(Has(text, "50 us")) << text;
  EXPECT_TRUE(Has(text, "2.5 GB/s")) << text;
  EXPECT_TRUE(Has(text, "no answer for 2 s")) << text;
  // DISPATCH has both directions of the step.
  const size_t line = text.find("w0");
  EXPECT_TRUE(Has(text.substr(line, text.find('\n', line) - line), " 3.0 ")) << text;
}

TEST(TelemetryText, LoadShowsBothTables) {
  const auto load = Read<v1::GetLoadResponse>(R"(
    steps { step: 7 plan_version: 2 layers { layer: 1 expert_tokens: 5 expert_tokens: 6 rank_tokens: 11 } })");
  std::ostringstream out;
  PrintLoad(load, out);
  EXPECT_EQ(out.str(), "step 7, plan 2\n  layer 1\n    by expert  5 6\n    by rank    11\n");
}

}  // namespace
}  // namespace ballast
