#include "coordinator/event_log.h"

#include <string>
#include <utility>
#include <vector>

#include "coordinator/core.h"
#include "coordinator/memory_store.h"
#include "gtest/gtest.h"
#include "protocol/version.h"
#include "tests/coordinator/small_job.h"

namespace ballast {
namespace {

JobEvent Saying(const std::string& text) {
  JobEvent event;
  event.job = JobId("demo");
  event.text = text;
  return event;
}

TEST(EventLog, KeepsTheNewestAndNumbersGoOn) {
  EventLog log;
  for (int64_t i = 1; i <= kEventsMax + 3; ++i) log.Add(Saying(std::to_string(i)));
  ASSERT_EQ(log.events().size(), static_cast<size_t>(kEventsMax));
  EXPECT_EQ(log.events().front().number, 4) << "three were dropped";
  EXPECT_EQ(log.events().back().number, kEventsMax + 3);
  EXPECT_EQ(log.events().back().text, std::to_string(kEventsMax + 3));

  EventLog restored;
  for (const JobEvent& event : log.events()) restored.Restore(event);
  EXPECT_TRUE(restored.TakeUnwritten().empty()) << "the store has them";
  EXPECT_EQ(restored.Add(Saying("news")).number, kEventsMax + 4);
}

TEST(EventLog, EachIsUnwrittenOnce) {
  EventLog log;
  log.Add(Saying("a"));
  log.Add(Saying("b"));
  const std::vector<JobEvent> both = log.TakeUnwritten();
  ASSERT_EQ(both.size(), 2u);
  EXPECT_EQ(both[0].text, "a");
  log.Add(Saying("c"));
  const std::vector<JobEvent> one = log.TakeUnwritten();
  ASSERT_EQ(one.size(), 1u);
  EXPECT_EQ(one[0].text, "c");
  EXPECT_TRUE(log.TakeUnwritten().empty());
}

TEST(EventLog, ALongTextIsCutBetweenCharacters) {
  EventLog log;
  std::string text = "x";
  while (text.size() < 2 * kEventTextMax) text += "\u20ac";  // three bytes each
  const std::string& cut = log.Add(Saying(text)).text;
  EXPECT_LE(cut.size(), kEventTextMax);
  EXPECT_GE(cut.size(), kEventTextMax - 3);
  EXPECT_EQ(cut.substr(cut.size() - 3), "...");
  EXPECT_EQ((cut.size() - 1 - 3) % 3, 0u);
  EXPECT_EQ(log.Add(Saying(std::string(kEventTextMax, 'y'))).text, std::string(kEventTextMax, 'y'));
}

// Whatever a core told, the next one has, in order and without gaps, once a tick has passed.
TEST(EventLog, SurvivesAChangeOfTheCore) {
  MemoryStore store;
  std::vector<JobEvent> told;
  int64_t seconds = 0;
  const auto feed = [&](Core& core, Event event) {
    const Now now{Time() + Seconds(static_cast<double>(++seconds)), 1000 * seconds};
    for (const Action& action : core.Step(now, std::move(event))) {
      if (const auto* write = std::get_if<StoreWrite>(&action)) {
        ASSERT_TRUE(store.Commit(write->transaction).ok());
      }
      const auto* publish = std::get_if<Publish>(&action);
      if (publish == nullptr) continue;
      if (const auto* event_told = std::get_if<JobEvent>(&publish->event)) told.push_back(*event_told);
    }
  };
  const auto lead = [&](Core& core) {
    const Term term = *store.Acquire(Term());
    feed(core, LeadershipWon{term, *store.Load()});
  };
  const auto attach = [&](Core& core, int64_t stream, const char* name) {
    Hello hello;
    hello.protocol_version = kProtocolVersion;
    hello.worker = WorkerId(name);
    hello.incarnation = Incarnation(1);
    hello.ranks = 1;
    feed(core, WorkerAttached{StreamId(stream), hello});
  };
  {
    Core core{CoreOptions{}};
    lead(core);
    attach(core, 1, "w1");
    attach(core, 2, "w2");
    feed(core, SubmitJob{ReplyToken(1), SmallJob("demo", 2)});
    feed(core, Tick{});
    feed(core, StreamClosed{StreamId(2)});
    feed(core, Tick{});  // tells that w2 is away: nothing else is written then
    feed(core, StopJob{ReplyToken(2), JobId("demo"), "operator/anna", false});
    EXPECT_EQ(*core.Events(JobId("demo")), told);
  }
  Core next{CoreOptions{}};
  lead(next);
  feed(next, Tick{});
  EXPECT_EQ(*next.Events(JobId("demo")), told);
  EXPECT_EQ(store.Load()->events, told);
  std::vector<JobEvent::Kind> kinds;
  for (size_t i = 0; i < told.size(); ++i) {
    EXPECT_EQ(told[i].number, static_cast<int64_t>(i) + 1);
    kinds.push_back(told[i].kind);
  }
  using Kind = JobEvent::Kind;
  EXPECT_EQ(kinds, (std::vector<Kind>{Kind::kState, Kind::kMember, Kind::kState, Kind::kMember,
                                      Kind::kRequest, Kind::kState, Kind::kLeader}));
  EXPECT_FALSE(next.Events(JobId("other")).ok());
}

}  // namespace
}  // namespace ballast
