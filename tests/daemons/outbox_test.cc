#include "net/outbox.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace ballast {
namespace {

std::vector<std::string> TakeAll(Outbox<std::string>& outbox) {
  std::vector<std::string> items;
  while (std::optional<std::string> item = outbox.Take()) items.push_back(*item);
  return items;
}

TEST(Outbox, KeepsTheCommonOrder) {
  Outbox<std::string> outbox(10, 10);
  outbox.PushTelemetry("report 1");
  EXPECT_TRUE(outbox.PushControl("active"));
  outbox.PushTelemetry("report 2");
  EXPECT_TRUE(outbox.PushControl("finished"));
  EXPECT_EQ(TakeAll(outbox), (std::vector<std::string>{"report 1", "active", "report 2", "finished"}));
  EXPECT_TRUE(outbox.empty());
}

TEST(Outbox, DropsTheOldestTelemetryAndCountsIt) {
  Outbox<std::string> outbox(10, 2);
  outbox.PushTelemetry("report 1");
  EXPECT_TRUE(outbox.PushControl("active"));
  outbox.PushTelemetry("report 2");
  outbox.PushTelemetry("report 3");
  outbox.PushTelemetry("report 4");
  EXPECT_EQ(outbox.dropped(), 2);
  EXPECT_EQ(TakeAll(outbox), (std::vector<std::string>{"active", "report 3", "report 4"}));
  outbox.PushTelemetry("report 5");
  EXPECT_EQ(outbox.dropped(), 2) << "taking must make room again";
}

TEST(Outbox, NeverDropsControlButRefusesIt) {
  Outbox<std::string> outbox(2, 1);
  EXPECT_TRUE(outbox.PushControl("stage"));
  EXPECT_TRUE(outbox.PushControl("commit"));
  EXPECT_FALSE(outbox.PushControl("withdraw"));
  EXPECT_EQ(outbox.Take(), "stage");
  EXPECT_TRUE(outbox.PushControl("withdraw"));
  EXPECT_EQ(TakeAll(outbox), (std::vector<std::string>{"commit", "withdraw"}));
}

TEST(Outbox, KeepsOnlyTheLatestOfAKey) {
  Outbox<std::string> outbox(2, 2);
  outbox.PushLatest(1, "step 1");
  outbox.PushLatest(2, "heartbeat");
  EXPECT_TRUE(outbox.PushControl("state"));
  outbox.PushLatest(1, "step 2");
  EXPECT_EQ(TakeAll(outbox), (std::vector<std::string>{"step 2", "heartbeat", "state"}));
}

TEST(Outbox, ANewStreamKeepsTelemetryAlone) {
  Outbox<std::string> outbox(1, 2);
  EXPECT_TRUE(outbox.PushControl("staged"));
  outbox.PushTelemetry("report 1");
  outbox.PushLatest(1, "heartbeat");
  outbox.DropAllButTelemetry();
  EXPECT_TRUE(outbox.PushControl("hello")) << "the dropped control item must not count any more";
  EXPECT_EQ(TakeAll(outbox), (std::vector<std::string>{"report 1", "hello"}));
}

}  // namespace
}  // namespace ballast
