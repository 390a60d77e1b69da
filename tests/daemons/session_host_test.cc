// Between the stream to the coordinator and the ranks: what waits, what is said again, what is refused.
#include "worker/daemon/session_host.h"

#include <gtest/gtest.h>

#include "protocol/version.h"
#include "tests/daemons/worker_messages.h"

namespace ballast {
namespace {

class NoRanks final : public Ranks {
 public:
  void Start(StartGeneration, std::shared_ptr<StreamRendezvous>) override { ++started; }
  void Abort(const RunId&, const std::string&) override { ++aborted; }
  void Forget(const RunId&) override {}
  int started = 0;
  int aborted = 0;
};

// A host whose ranks are counted only.
class SessionHostTest : public testing::Test {
 protected:
  SessionHostTest() : host_(Identity(), kReportsMax, [this] { ++wakes_; }) { host_.SetRanks(&ranks_); }

  // Attached and assigned generation 1.
  void SetUp() override {
    EXPECT_EQ(host_.BeginStream().protocol_version, kProtocolVersion);
    ASSERT_TRUE(host_.OnMessage(Welcome{Term(1)}));
    ASSERT_TRUE(host_.OnMessage(AssignBoth()));
    EXPECT_EQ(ranks_.started, 1);
  }
  void Reattach(Term term) {
    host_.BeginStream();
    ASSERT_TRUE(host_.OnMessage(Welcome{term}));
  }

  static constexpr int kReportsMax = 2;
  int wakes_ = 0;
  NoRanks ranks_;
  SessionHost host_;
};

TEST_F(SessionHostTest, WhileDetachedReportsWaitInARingAndTheRestIsSaidAgain) {
  RunId run = host_.run();
  EXPECT_EQ(run.job, JobId("demo"));
  EXPECT_TRUE(Outgoing(host_).empty());

  host_.EndStream();
  host_.OnStarted(run, Rank(0));
  host_.OnStarted(run, Rank(1));
  std::unique_ptr<StepCoordination> rank0 = host_.CoordinationFor(run);
  for (int step = 1; step <= 4; ++step) {
    StepReport report;
    report.step = Step(step);
    rank0->OnReport(report);
  }
  EXPECT_EQ(host_.reports_dropped(), 2) << "the oldest of four";
  EXPECT_TRUE(Outgoing(host_).empty()) << "nobody listens";

  host_.BeginStream();
  EXPECT_TRUE(Outgoing(host_).empty()) << "not before the Welcome";
  EXPECT_GT(wakes_, 0);
  ASSERT_TRUE(host_.OnMessage(Welcome{Term(1)}));
  std::optional<StepReport> oldest = AwaitOutgoing<StepReport>(host_);
  ASSERT_TRUE(oldest.has_value());
  EXPECT_EQ(oldest->step, Step(3));
}

RankStep TimesOf(int64_t step) {
  RankStep times;
  times.step = Step(step);
  times.seconds = 0.001;
  return times;
}

TEST_F(SessionHostTest, TimesOfARankAreReportedInBatches) {
  std::unique_ptr<StepCoordination> rank1 = host_.CoordinationFor(host_.run());
  int64_t step = 0;
  while (step < static_cast<int64_t>(kRankReportStepsMax) - 1)
    rank1->OnRankStep(Rank(1), TimesOf(++step), {});
  EXPECT_TRUE(Outgoing(host_).empty()) << "not a second and not enough steps yet";
  rank1->OnRankStep(Rank(1), TimesOf(++step), {});
  std::optional<RankReport> report = AwaitOutgoing<RankReport>(host_);
  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(report->job, JobId("demo"));
  EXPECT_EQ(report->generation, Generation(1));
  EXPECT_EQ(report->rank, Rank(1));
  EXPECT_EQ(report->steps.size(), kRankReportStepsMax);
  EXPECT_EQ(report->steps.back().step, Step(step));

  rank1->OnRankStep(Rank(1), TimesOf(++step), {});
  rank1.reset();
  report = AwaitOutgoing<RankReport>(host_);
  ASSERT_TRUE(report.has_value()) << "what is left is reported at the rank's end";
  EXPECT_EQ(report->steps, std::vector<RankStep>{TimesOf(step)});
}

TEST_F(SessionHostTest, OfTokensTheNewestOfEachRankWaitsAndNoneForACoordinatorThatIsAway) {
  std::unique_ptr<StepCoordination> rank0 = host_.CoordinationFor(host_.run());
  std::unique_ptr<StepCoordination> rank1 = host_.CoordinationFor(host_.run());
  const auto tell = [&](int64_t step) {
    rank0->OnTokens({JobId(), Generation(), Rank(0), Step(step), 1, {3}});
    rank1->OnTokens({JobId(), Generation(), Rank(1), Step(step), 1, {4}});
  };
  for (int64_t step = 1; step <= 5; ++step) tell(step);
  std::vector<TokenReport> told;
  while (std::optional<WorkerMessage> message = host_.TakeOutgoing()) {
    if (const auto* report = std::get_if<TokenReport>(&*message)) told.push_back(*report);
  }
  ASSERT_EQ(told.size(), 2u);
  for (const TokenReport& report : told) {
    EXPECT_EQ(report.step, Step(5));
    EXPECT_EQ(report.job, JobId("demo")) << "the host stamps what the trainer tells";
    EXPECT_EQ(report.generation, Generation(1));
  }
  EXPECT_EQ(host_.reports_dropped(), 0) << "nobody misses them";
  host_.EndStream();
  tell(6);
  Reattach(Term(1));
  while (std::optional<WorkerMessage> message = host_.TakeOutgoing())
    EXPECT_FALSE(std::holds_alternative<TokenReport>(*message));
}

TEST_F(SessionHostTest, AStepThatTakesASecondIsReportedAtOnce) {
  std::unique_ptr<StepCoordination> rank0 = host_.CoordinationFor(host_.run());
  rank0->OnRankStep(Rank(0), TimesOf(1), {});
  EXPECT_TRUE(Outgoing(host_).empty());
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  rank0->OnRankStep(Rank(0), TimesOf(2), {});
  std::optional<RankReport> report = AwaitOutgoing<RankReport>(host_);
  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(report->steps.size(), 2u);
}

TEST_F(SessionHostTest, WhatWasDroppedIsToldWithTheNextTimes) {
  host_.EndStream();
  for (int step = 1; step <= 5; ++step)
    host_.CoordinationFor(host_.run())->OnRankStep(Rank(0), TimesOf(step), {});
  EXPECT_EQ(host_.reports_dropped(), 3);
  EXPECT_FALSE(host_.attached());
  Reattach(Term(1));
  EXPECT_TRUE(host_.attached());
  std::optional<RankReport> report = AwaitOutgoing<RankReport>(host_);
  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(report->steps.front().step, Step(4)) << "the oldest are gone";
  EXPECT_EQ(report->reports_dropped, 3);
}

TEST_F(SessionHostTest, CellsSayWhetherTheStreamIsOpen) {
  std::unique_ptr<StepCoordination> rank0 = host_.CoordinationFor(host_.run());
  EXPECT_TRUE(rank0->Cells().attached);
  host_.EndStream();
  EXPECT_FALSE(rank0->Cells().attached);
  host_.BeginStream();
  EXPECT_FALSE(rank0->Cells().attached) << "not before the Welcome";
  ASSERT_TRUE(host_.OnMessage(Welcome{Term(1)}));
  EXPECT_TRUE(rank0->Cells().attached);
}

TEST_F(SessionHostTest, AfterTheWelcomeTheReportsComeAndWhatLasts) {
  RunId run = host_.run();
  host_.EndStream();
  host_.OnStarted(run, Rank(0));
  host_.OnStarted(run, Rank(1));
  StepReport report;
  report.step = Step(1);
  host_.CoordinationFor(run)->OnReport(report);
  Reattach(Term(2));
  int started = 0, reports = 0;
  while (std::optional<WorkerMessage> message = host_.TakeOutgoing()) {
    if (const auto* s = std::get_if<Started>(&*message)) {
      ++started;
      EXPECT_EQ(s->stamp.term, Term(2));
    }
    if (const auto* r = std::get_if<StepReport>(&*message)) {
      ++reports;
      EXPECT_EQ(r->job, run.job) << "the host stamps what the trainer reports";
      EXPECT_EQ(r->generation, run.generation);
    }
  }
  EXPECT_EQ(started, 1);
  EXPECT_EQ(reports, 1);
}

TEST_F(SessionHostTest, ARankOfAnOldGenerationIsNotHeard) {
  RunId old_run = host_.run();
  std::unique_ptr<StepCoordination> old_rank = host_.CoordinationFor(old_run);
  ASSERT_TRUE(host_.OnMessage(Abort{{Term(1), old_run.job, old_run.generation}, "test"}));
  EXPECT_EQ(ranks_.aborted, 1);
  ASSERT_TRUE(host_.OnMessage(AssignBoth(Generation(2))));
  EXPECT_EQ(ranks_.started, 2);
  Outgoing(host_);
  StepReport report;
  report.step = Step(5);
  old_rank->OnReport(report);
  host_.OnFailure(old_run, Step(5), "too late");
  EXPECT_TRUE(Outgoing(host_).empty());
  EXPECT_EQ(old_rank->Cells().staged, nullptr);
}

TEST(SessionHost, ARefusalForGoodEndsTheProcess) {
  SessionHost host(Identity(), /*reports_max=*/2, [] {});
  host.BeginStream();
  EXPECT_TRUE(host.OnMessage(Refused{"busy", /*retry=*/true}));
  EXPECT_FALSE(host.OnMessage(Refused{"go away", /*retry=*/false}));
}

}  // namespace
}  // namespace ballast
