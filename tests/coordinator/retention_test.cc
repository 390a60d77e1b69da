#include "coordinator/retention.h"

#include <gtest/gtest.h>

#include <limits>

#include "coordinator/layer_balance.h"
#include "coordinator/link_table.h"

namespace ballast {
namespace {

StepReport ReportOf(int64_t step, int experts) {
  StepReport report;
  report.step = Step(step);
  report.load.tokens = {std::vector<int64_t>(static_cast<size_t>(experts), 1)};
  report.rank_tokens = {{static_cast<int64_t>(experts)}};
  return report;
}

TEST(StepRing, KeepsTheNewestSteps) {
  StepRing ring({.steps_max = 3});
  for (int64_t step = 1; step <= 10; ++step) ring.Add(ReportOf(step, 4));
  ASSERT_EQ(ring.steps().size(), 3u);
  EXPECT_EQ(ring.steps().front()->step, Step(8));
  EXPECT_EQ(ring.steps().back()->step, Step(10));
}

TEST(StepRing, ALateStepGoesWhereItBelongs) {
  StepRing ring({.steps_max = 3});
  for (int64_t step : {5, 7, 6, 3}) ring.Add(ReportOf(step, 4));
  ASSERT_EQ(ring.steps().size(), 3u);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(ring.steps()[i]->step, Step(5 + static_cast<int64_t>(i)));
}

TEST(StepRing, AfterAnEarlierCheckpointWhatStandsStays) {
  StepRing ring({.steps_max = 100, .step_bytes_max = 20'000});
  for (int64_t step = 1; step <= 4; ++step) ring.Add(ReportOf(step, 500));
  ring.ForgetAfter(Step(2));
  ASSERT_EQ(ring.steps().size(), 2u);
  EXPECT_EQ(ring.steps().back()->step, Step(2));
  ring.Add(ReportOf(3, 500));
  ring.Add(ReportOf(4, 500));
  EXPECT_EQ(ring.steps().size(), 4u) << "the bytes of what was forgotten do not count";
  ring.ForgetAfter(Step(0));
  EXPECT_TRUE(ring.steps().empty());
}

TEST(StepRing, BytesAreBoundedToo) {
  StepRing ring({.steps_max = 100, .step_bytes_max = 20'000});
  for (int64_t step = 1; step <= 50; ++step) ring.Add(ReportOf(step, 500));  // about 4.5 kB each
  EXPECT_GE(ring.steps().size(), 3u);
  EXPECT_LE(ring.steps().size(), 4u);
  EXPECT_EQ(ring.steps().back()->step, Step(50));
  ring.Add(ReportOf(51, 10'000));
  EXPECT_EQ(ring.steps().size(), 1u) << "the newest stays, however large";
}

RankReport Times(int rank, int64_t first, int64_t last) {
  RankReport report{JobId("demo"), Generation(1), Rank(rank), {}, 0};
  for (int64_t step = first; step <= last; ++step) {
    RankStep& times = report.steps.emplace_back();
    times.step = Step(step);
    times.seconds = 0.5;
    times.links = {{Rank(1 - rank), 10, 20, 0.1}};
  }
  return report;
}

TEST(RankRings, KeepTheNewestStepsOfEachRank) {
  RankRings rings({.rank_steps_max = 4}, 2);
  ASSERT_TRUE(rings.Add(Times(1, 1, 6)).ok());
  ASSERT_TRUE(rings.Add(Times(1, 5, 7)).ok()) << "a repeated report is no error";
  EXPECT_TRUE(rings.of(Rank(0)).empty());
  ASSERT_EQ(rings.of(Rank(1)).size(), 4u);
  EXPECT_EQ(rings.of(Rank(1)).front().step, Step(4));
  EXPECT_EQ(rings.of(Rank(1)).back().step, Step(7));
  rings.Reset(3);
  EXPECT_EQ(rings.ranks(), 3);
  EXPECT_TRUE(rings.of(Rank(1)).empty());
}

TEST(RankRings, BytesAreSharedByTheRanks) {
  RankRings rings({.rank_steps_max = 64, .rank_bytes_max = 2000}, 2);
  ASSERT_TRUE(rings.Add(Times(0, 1, 60)).ok());
  const size_t each = sizeof(RankStep) + sizeof(LinkUse);
  EXPECT_EQ(rings.of(Rank(0)).size(), 1000 / each);
}

TEST(RankRings, WhatCannotBeIsNamedAndNothingIsTaken) {
  RankRings rings({}, 2);
  auto refused = [&](auto&& spoil) {
    RankReport report = Times(1, 3, 5);
    spoil(report);
    const absl::Status status = rings.Add(report);
    EXPECT_TRUE(rings.of(Rank(1)).empty());
    return std::string(status.message());
  };
  EXPECT_EQ(refused([](RankReport& r) { r.rank = Rank(2); }), "rank: found 2, allowed 0..1");
  EXPECT_EQ(refused([](RankReport& r) { r.steps[1].step = Step(3); }),
            "steps[1].step: found 3, allowed rising from 1");
  EXPECT_EQ(refused([](RankReport& r) { r.steps[2].seconds = -1; }),
            "steps[2].seconds: found -1, allowed at least 0");
  EXPECT_EQ(refused([](RankReport& r) {
              r.steps[0].phase_seconds[static_cast<size_t>(Phase::kExperts)] =
                  std::numeric_limits<double>::quiet_NaN();
            }),
            "steps[0].phase_seconds.experts: found nan, allowed at least 0");
  EXPECT_EQ(refused([](RankReport& r) { r.steps[0].links[0].peer = Rank(7); }),
            "steps[0].links[0].peer: found 7, allowed 0..1");
  EXPECT_EQ(refused([](RankReport& r) { r.steps[0].links[0].bytes_sent = -5; }),
            "steps[0].links[0].bytes_sent: found -5, allowed at least 0");
  EXPECT_EQ(refused([](RankReport& r) { r.steps[0].links[0].timed_messages = -1; }),
            "steps[0].links[0].timed_messages: found -1, allowed at least 0");
  EXPECT_EQ(refused([](RankReport& r) { r.steps[0].links[0].timed_bytes = -1; }),
            "steps[0].links[0].timed_bytes: found -1, allowed at least 0");
  EXPECT_EQ(refused([](RankReport& r) {
              r.steps[0].links[0].timed_seconds = std::numeric_limits<double>::infinity();
            }),
            "steps[0].links[0].timed_seconds: found inf, allowed at least 0");
  EXPECT_EQ(refused([](RankReport& r) { r.steps.resize(kRankReportStepsMax + 1); }),
            "steps: found 65, allowed 0..64");
}

TEST(LayerBalance, SaysHowUnevenALayerIs) {
  const LayerBalance balance = BalanceOf({10, 40, 40, 10}, {75, 25}, 3);
  EXPECT_DOUBLE_EQ(balance.imbalance, 1.5);
  EXPECT_DOUBLE_EQ(balance.variation, 0.6);
  ASSERT_EQ(balance.hottest.size(), 3u);
  EXPECT_EQ(balance.hottest[0].expert, ExpertId(1));
  EXPECT_EQ(balance.hottest[1].expert, ExpertId(2));
  EXPECT_EQ(balance.hottest[2].expert, ExpertId(0));
  EXPECT_DOUBLE_EQ(balance.hottest[2].share, 0.1);
  const LayerBalance nothing = BalanceOf({0, 0}, {0, 0}, 4);
  EXPECT_EQ(nothing.imbalance, 1);
  EXPECT_EQ(nothing.variation, 0);
  EXPECT_EQ(nothing.hottest.size(), 2u);
}

Member On(int rank, const std::string& node) {
  Member member;
  member.rank = Rank(rank);
  member.worker = WorkerId("w" + std::to_string(rank));
  member.node = node;
  return member;
}

TEST(LinkTable, BecomesThePlannersTopology) {
  const std::vector<Member> members = {On(0, "a"), On(1, "a"), On(2, "b")};
  LinkTable table;
  const Time now = Time() + Seconds(5);
  LinkReport report{JobId("demo"), Generation(1), {}};
  report.links = {{Rank(0), Rank(2), 1e-4, 1e9, ""}, {Rank(2), Rank(0), 2e-4, 5e8, ""}};
  ASSERT_TRUE(table.OnReport(report, members, now).ok());
  Topology topology = Topology::FromNodeNames({"b", "a", "a"});  // the next generation: other ranks
  table.Fill(topology);
  EXPECT_EQ(topology.link(NodeId(1), NodeId(0)), (LinkSpeed{1e-4, 1e9}));
  EXPECT_EQ(topology.link(NodeId(0), NodeId(1)), (LinkSpeed{2e-4, 5e8}));
  EXPECT_EQ(topology.link(NodeId(0), NodeId(0)), LinkSpeed());
}

TEST(LinkTable, AFailureIsCountedAndTheLastResultStays) {
  const std::vector<Member> members = {On(0, "a"), On(1, "b")};
  LinkTable table;
  LinkReport good{JobId("demo"), Generation(1), {{Rank(0), Rank(1), 1e-4, 1e9, ""}}};
  LinkReport bad{JobId("demo"), Generation(1), {{Rank(0), Rank(1), 0, 0, "no answer for 2 s"}}};
  ASSERT_TRUE(table.OnReport(good, members, Time()).ok());
  ASSERT_TRUE(table.OnReport(bad, members, Time() + Seconds(60)).ok());
  const LinkRecord& record = table.links().at({"a", "b"});
  EXPECT_EQ(record.failures, 1);
  EXPECT_EQ(record.last_failure, "no answer for 2 s");
  EXPECT_EQ(record.speed.bytes_per_second, 1e9);
  EXPECT_EQ(record.measured, Time());
  ASSERT_TRUE(table.OnReport(good, members, Time() + Seconds(120)).ok());
  EXPECT_EQ(table.links().at({"a", "b"}).last_failure, "");
}

TEST(LinkTable, WhatCannotBeIsNamed) {
  const std::vector<Member> members = {On(0, "a"), On(1, "b"), On(2, "b")};
  LinkTable table;
  auto refused = [&](LinkProbe link) {
    LinkReport report{JobId("demo"), Generation(1), {{Rank(0), Rank(1), 1e-4, 1e9, ""}, link}};
    const absl::Status status = table.OnReport(report, members, Time());
    EXPECT_TRUE(table.links().empty()) << "nothing is taken";
    return std::string(status.message());
  };
  EXPECT_EQ(refused({Rank(3), Rank(0), 1, 1, ""}), "links[1].from: found 3, allowed 0..2");
  EXPECT_EQ(refused({Rank(0), Rank(-1), 1, 1, ""}), "links[1].to: found -1, allowed 0..2");
  EXPECT_EQ(refused({Rank(1), Rank(2), 1, 1, ""}), "links[1].to: found 2, allowed a rank of another node");
  EXPECT_EQ(refused({Rank(0), Rank(1), -1, 1, ""}), "links[1].latency_seconds: found -1, allowed at least 0");
  EXPECT_EQ(refused({Rank(0), Rank(1), 0, 0, ""}), "links[1].bytes_per_second: found 0, allowed more than 0");
}

}  // namespace
}  // namespace ballast
