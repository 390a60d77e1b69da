#include "replay/telemetry_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "replay/replay.h"

namespace ballast {
namespace {

using ::testing::HasSubstr;

constexpr char kHeader[] = "step,gpu,tokens,compute_ms,nic_bytes,nic_ms\n";

TEST(TelemetryTable, ReadsColumnsInAnyOrder) {
  const auto table = TelemetryTable::Parse(
      "gpu, step,nic_ms,tokens,compute_ms,nic_bytes\r\n1,0,0.5,10,2e1,30\r\n\r\n0,3,1,2,3,4\n", 2, 4);
  ASSERT_TRUE(table.ok()) << table.status();
  ASSERT_EQ(table->steps().size(), 2u);
  EXPECT_FALSE(table->steps().at(0)[0]);
  const GpuTimes& times = *table->steps().at(0)[1];
  EXPECT_EQ(times.tokens, 10);
  EXPECT_EQ(times.compute_ms, 20);
  EXPECT_EQ(times.nic_bytes, 30);
  EXPECT_EQ(times.nic_ms, 0.5);
  EXPECT_TRUE(table->steps().at(3)[0]);
}

TEST(TelemetryTable, NamesWhatCannotBe) {
  const struct {
    std::string text;
    std::string error;
  } cases[] = {
      {"", "line 1: found no column step"},
      {"step,gpu,tokens,compute_ms,nic_bytes\n", "line 1: found no column nic_ms"},
      {"step,gpu,tokens,compute_ms,nic_bytes,nic_ms,colour\n", "line 1: found a column colour"},
      {"step,gpu,tokens,compute_ms,nic_bytes,nic_ms,gpu\n", "line 1: found two columns gpu"},
      {absl::StrCat(kHeader, "0,0,1,1,1\n"), "line 2: found 5 values, allowed is 6"},
      {absl::StrCat(kHeader, "0,2,1,1,1,1\n"), "line 2: gpu: found 2, allowed is 0..1"},
      {absl::StrCat(kHeader, "0,-1,1,1,1,1\n"), "line 2: gpu: found -1"},
      {absl::StrCat(kHeader, "5,0,1,1,1,1\n"), "line 2: step: found 5, allowed is 0..4"},
      {absl::StrCat(kHeader, "0.5,0,1,1,1,1\n"), "line 2: step: found 0.5"},
      {absl::StrCat(kHeader, "\n0,0,1,nan,1,1\n"), "line 3: compute_ms: found nan, allowed is 0 or more"},
      {absl::StrCat(kHeader, "0,0,-3,1,1,1\n"), "line 2: tokens: found -3"},
      {absl::StrCat(kHeader, "0,0,1,1,inf,1\n"), "line 2: nic_bytes: found inf"},
      {absl::StrCat(kHeader, "0,0,1,1,1,\n"), "line 2: nic_ms: found nothing"},
      {absl::StrCat(kHeader, "0,0,1,x,1,1\n"), "line 2: compute_ms: found x"},
      {absl::StrCat(kHeader, "0,0,1,1,1,1\n0,0,1,1,1,1\n"), "line 3: step 0 of gpu 0 is there twice"},
  };
  for (const auto& one : cases) {
    const auto table = TelemetryTable::Parse(one.text, 2, 5);
    ASSERT_FALSE(table.ok()) << one.error;
    EXPECT_THAT(std::string(table.status().message()), HasSubstr(one.error));
  }
}

// Four GPUs; number 3 is at 0.6 from step 60 on and the port of number 1 at half from step 100 on.
std::string Recorded(uint64_t seed, int steps) {
  Rng rng(seed);
  const auto noisy = [&](double time) {
    return time * std::exp(0.05 * rng.Normal()) * (rng.Chance(0.03) ? 2 + 6 * rng.Uniform() : 1);
  };
  std::string text = kHeader;
  for (int step = 0; step < steps; ++step) {
    for (int gpu = 0; gpu < 4; ++gpu) {
      const double tokens = std::round(4000 + 1000 * rng.Uniform()), bytes = 1e6 * (1 + rng.Uniform());
      const double ms = noisy(tokens / 1000 / (gpu == 3 && step >= 60 ? 0.6 : 1));
      const double nic = noisy(bytes / 1e6 / (gpu == 1 && step >= 100 ? 0.5 : 1));
      absl::StrAppend(&text, step, ",", gpu, ",", tokens, ",", ms, ",", bytes, ",", nic, "\n");
    }
  }
  return text;
}

TEST(TelemetryFeed, FindsTheSlowGpuAndTheSlowPort) {
  const auto table = TelemetryTable::Parse(Recorded(1, 200), 4, 200);
  ASSERT_TRUE(table.ok()) << table.status();
  TelemetryFeed feed(*table);
  feed.ObserveBefore(60);
  EXPECT_TRUE(feed.events().empty()) << "what comes later is not known yet";
  feed.ObserveBefore(200);
  ASSERT_EQ(feed.events().size(), 2u);
  EXPECT_EQ(feed.events()[0].resource, Resource::kCompute);
  EXPECT_EQ(feed.events()[0].member, 3);
  EXPECT_GE(feed.events()[0].step, Step(60));
  EXPECT_LE(feed.events()[0].step, Step(68));
  EXPECT_EQ(feed.events()[1].resource, Resource::kPort);
  EXPECT_EQ(feed.events()[1].member, 1);
  EXPECT_LE(feed.events()[1].step, Step(110));
  EXPECT_NEAR(feed.speeds()[3] / 65536.0, 0.6, 0.03);
  EXPECT_EQ(feed.speeds()[0], kHealthySpeed);
}

TEST(TelemetryFeed, ReplayPlansForTheSpeedsOfThePast) {
  constexpr int kSteps = 200, kExperts = 8;
  Rng rng(2);
  std::vector<int64_t> tokens;
  for (int s = 0; s < kSteps; ++s) {
    for (int e = 0; e < kExperts; ++e) tokens.push_back(rng.Between(900, 1100) * (e < 2 ? 3 : 1));
  }
  const LoadTrace trace(kSteps, 1, 1, kExperts, tokens);
  const auto table = TelemetryTable::Parse(Recorded(3, kSteps), 4, kSteps);
  ASSERT_TRUE(table.ok()) << table.status();
  ReplayOptions options;
  options.ranks = 4;
  options.slots = 3;
  options.every = 10;
  options.from = 80;
  options.telemetry = &*table;
  const auto knows = Replay(trace, options);
  ASSERT_TRUE(knows.ok()) << knows.status();
  EXPECT_EQ(knows->slow.size(), 2u);
  EXPECT_LE(knows->figures.max_over_mean, 1.03) << "tokens over speed";
  options.strategy = "contiguous";
  const auto stays = Replay(trace, options);
  EXPECT_GE(stays->figures.max_over_mean, 1.5) << "the slow GPU counts";
  options.ranks = 2;
  options.slots = 8;
  EXPECT_THAT(std::string(Replay(trace, options).status().message()), HasSubstr("telemetry: found 4"));
}

}  // namespace
}  // namespace ballast
