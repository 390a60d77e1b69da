#include "base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <sstream>
#include <thread>
#include <vector>

namespace ballast {
namespace {

const char kTime[] = "2024-05-01T12:00:00.250Z";

TEST(Log, TextLinesSplitWithoutGuessing) {
  EXPECT_EQ(FormatLogLine(LogFormat::kText, kTime, LogLevel::kInfo, "plan active",
                          {{"job", "demo"}, {"step", 120}, {"gain", 0.25}, {"late", false}}),
            "time=2024-05-01T12:00:00.250Z level=info event=\"plan active\" job=demo step=120 gain=0.25 "
            "late=false");
  EXPECT_EQ(
      FormatLogLine(
          LogFormat::kText, kTime, LogLevel::kError, "failed",
          {{"empty", ""}, {"blank", "a b"}, {"quote", "say \"x\""}, {"equals", "a=b"}, {"line", "a\nb"}}),
      "time=2024-05-01T12:00:00.250Z level=error event=failed empty=\"\" blank=\"a b\" quote=\"say "
      "\\\"x\\\"\" "
      "equals=\"a=b\" line=\"a\\nb\"");
}

TEST(Log, JsonLinesQuoteStringsOnly) {
  EXPECT_EQ(
      FormatLogLine(
          LogFormat::kJson, kTime, LogLevel::kWarning, "odd \"event\"",
          {{"text", "tab\there"}, {"back", "a\\b"}, {"int", int64_t{-5}}, {"real", 1.5}, {"yes", true}}),
      "{\"time\":\"2024-05-01T12:00:00.250Z\",\"level\":\"warning\",\"event\":\"odd \\\"event\\\"\","
      "\"text\":\"tab\\u0009here\",\"back\":\"a\\\\b\",\"int\":-5,\"real\":1.5,\"yes\":true}");
}

TEST(Log, NumbersThatAreNoneAreNull) {
  EXPECT_EQ(FormatLogLine(LogFormat::kJson, kTime, LogLevel::kDebug, "e",
                          {{"nan", std::numeric_limits<double>::quiet_NaN()},
                           {"inf", std::numeric_limits<float>::infinity()}}),
            "{\"time\":\"2024-05-01T12:00:00.250Z\",\"level\":\"debug\",\"event\":\"e\",\"nan\":null,\"inf\":"
            "null}");
}

TEST(Log, LinesOfManyThreadsDoNotMix) {
  SetLogging(LogFormat::kText, LogLevel::kInfo);
  ::testing::internal::CaptureStderr();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < 100; ++i) {
        Log(LogLevel::kInfo, "line", {{"thread", t}, {"end", "here"}});
        Log(LogLevel::kDebug, "hidden");
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::istringstream lines(::testing::internal::GetCapturedStderr());
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    EXPECT_THAT(line,
                ::testing::MatchesRegex("time=[0-9T:.-]+Z level=info event=line thread=[0-3] end=here"));
  }
  EXPECT_EQ(count, 400);
}

}  // namespace
}  // namespace ballast
