// The worker daemon below gRPC: session host, rendezvous, generations, addresses.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "plan/contiguous.h"
#include "plan/layout.h"
#include "protocol/version.h"
#include "tests/coordinator/small_job.h"
#include "worker/agent/backoff.h"
#include "worker/comm/lost_peer.h"
#include "worker/comm/thread_communicator.h"
#include "worker/daemon/data_address.h"
#include "worker/daemon/generation_manager.h"
#include "worker/daemon/session_host.h"

namespace ballast {
namespace {

Time In(double seconds) { return SteadyClock().Now() + Seconds(seconds); }

Member MemberOf(int rank, const std::string& worker, int local_rank,
                const std::string& address = "127.0.0.1") {
  return {.rank = Rank(rank),
          .worker = WorkerId(worker),
          .incarnation = Incarnation(7),
          .local_rank = local_rank,
          .node = "node-" + worker,
          .data_address = address,
          .neighbour_address = address + ":9",
          .host = {},
          .probe_address = {}};
}

// Generation `generation` of a job on w0 (ranks 0, 1) alone.
Assign AssignBoth(Generation generation = Generation(1)) {
  std::shared_ptr<JobConfig> job = SmallJob("demo", 2);
  ParameterLayout layout = ParameterLayout::Make(job->model, job->placement.block_elements).value();
  auto plan = std::make_shared<Plan>();
  plan->stamp = {.job = job->name,
                 .generation = generation,
                 .version = PlanVersion(generation.value()),
                 .base_version = {},
                 .not_before_step = Step(1)};
  plan->body = ContiguousPlan(*job, layout, 2).value();
  return {.stamp = {.term = Term(1), .job = job->name, .generation = generation},
          .job = job,
          .members = {MemberOf(0, "w0", 0), MemberOf(1, "w0", 1)},
          .plan = plan,
          .start_step = Step(1),
          .checkpoint = {}};
}

SessionOptions Identity() {
  SessionOptions options;
  options.identity.worker = WorkerId("w0");
  options.identity.incarnation = Incarnation(7);
  options.identity.ranks = 2;
  return options;
}

// Everything that waits to be written, as text.
std::vector<std::string> Outgoing(SessionHost& host) {
  std::vector<std::string> texts;
  while (std::optional<WorkerMessage> message = host.TakeOutgoing()) texts.push_back(ToString(*message));
  return texts;
}

// The next outgoing message of type T, thrown others away; waits for it.
template <class T>
std::optional<T> AwaitOutgoing(SessionHost& host, double seconds = 5) {
  for (Time deadline = In(seconds); SteadyClock().Now() < deadline; std::this_thread::yield()) {
    std::optional<WorkerMessage> message = host.TakeOutgoing();
    if (message.has_value() && std::holds_alternative<T>(*message)) return std::get<T>(*message);
  }
  return std::nullopt;
}

class NoRanks final : public Ranks {
 public:
  void Start(StartGeneration, std::shared_ptr<StreamRendezvous>) override { ++started; }
  void Abort(const RunId&, const std::string&) override { ++aborted; }
  int started = 0;
  int aborted = 0;
};

TEST(SessionHost, WhileDetachedReportsWaitInARingAndTheRestIsSaidAgain) {
  NoRanks ranks;
  int wakes = 0;
  SessionHost host(Identity(), /*reports_max=*/2, [&wakes] { ++wakes; });
  host.SetRanks(&ranks);
  Hello hello = host.BeginStream();
  EXPECT_EQ(hello.protocol_version, kProtocolVersion);
  ASSERT_TRUE(host.OnMessage(Welcome{Term(1)}));
  ASSERT_TRUE(host.OnMessage(AssignBoth()));
  EXPECT_EQ(ranks.started, 1);
  RunId run = host.run();
  EXPECT_EQ(run.job, JobId("demo"));
  EXPECT_TRUE(Outgoing(host).empty());

  host.EndStream();
  host.OnStarted(run, Rank(0));
  host.OnStarted(run, Rank(1));
  std::unique_ptr<StepCoordination> rank0 = host.CoordinationFor(run);
  for (int step = 1; step <= 4; ++step) {
    StepReport report;
    report.step = Step(step);
    rank0->OnReport(report);
  }
  EXPECT_EQ(host.reports_dropped(), 2) << "the oldest of four";
  EXPECT_TRUE(Outgoing(host).empty()) << "nobody listens";

  host.BeginStream();
  EXPECT_TRUE(Outgoing(host).empty()) << "not before the Welcome";
  EXPECT_GT(wakes, 0);
  ASSERT_TRUE(host.OnMessage(Welcome{Term(1)}));
  std::optional<StepReport> oldest = AwaitOutgoing<StepReport>(host);
  ASSERT_TRUE(oldest.has_value());
  EXPECT_EQ(oldest->step, Step(3));
}

RankStep TimesOf(int64_t step) {
  RankStep times;
  times.step = Step(step);
  times.seconds = 0.001;
  return times;
}

TEST(SessionHost, TimesOfARankAreReportedInBatches) {
  NoRanks ranks;
  SessionHost host(Identity(), /*reports_max=*/2, [] {});
  host.SetRanks(&ranks);
  host.BeginStream();
  ASSERT_TRUE(host.OnMessage(Welcome{Term(1)}));
  ASSERT_TRUE(host.OnMessage(AssignBoth()));
  std::unique_ptr<StepCoordination> rank1 = host.CoordinationFor(host.run());
  int64_t step = 0;
  while (step < static_cast<int64_t>(kRankReportStepsMax) - 1)
    rank1->OnRankStep(Rank(1), TimesOf(++step), {});
  EXPECT_TRUE(Outgoing(host).empty()) << "not a second and not enough steps yet";
  rank1->OnRankStep(Rank(1), TimesOf(++step), {});
  std::optional<RankReport> report = AwaitOutgoing<RankReport>(host);
  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(report->job, JobId("demo"));
  EXPECT_EQ(report->generation, Generation(1));
  EXPECT_EQ(report->rank, Rank(1));
  EXPECT_EQ(report->steps.size(), kRankReportStepsMax);
  EXPECT_EQ(report->steps.back().step, Step(step));

  rank1->OnRankStep(Rank(1), TimesOf(++step), {});
  rank1.reset();
  report = AwaitOutgoing<RankReport>(host);
  ASSERT_TRUE(report.has_value()) << "what is left is reported at the rank's end";
  EXPECT_EQ(report->steps, std::vector<RankStep>{TimesOf(step)});
}

TEST(SessionHost, AStepThatTakesASecondIsReportedAtOnce) {
  NoRanks ranks;
  SessionHost host(Identity(), 8, [] {});
  host.SetRanks(&ranks);
  host.BeginStream();
  ASSERT_TRUE(host.OnMessage(Welcome{Term(1)}));
  ASSERT_TRUE(host.OnMessage(AssignBoth()));
  std::unique_ptr<StepCoordination> rank0 = host.CoordinationFor(host.run());
  rank0->OnRankStep(Rank(0), TimesOf(1), {});
  EXPECT_TRUE(Outgoing(host).empty());
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  rank0->OnRankStep(Rank(0), TimesOf(2), {});
  std::optional<RankReport> report = AwaitOutgoing<RankReport>(host);
  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(report->steps.size(), 2u);
}

TEST(SessionHost, WhatWasDroppedIsToldWithTheNextTimes) {
  NoRanks ranks;
  SessionHost host(Identity(), /*reports_max=*/2, [] {});
  host.SetRanks(&ranks);
  host.BeginStream();
  ASSERT_TRUE(host.OnMessage(Welcome{Term(1)}));
  ASSERT_TRUE(host.OnMessage(AssignBoth()));
  host.EndStream();
  for (int step = 1; step <= 5; ++step)
    host.CoordinationFor(host.run())->OnRankStep(Rank(0), TimesOf(step), {});
  EXPECT_EQ(host.reports_dropped(), 3);
  EXPECT_FALSE(host.attached());
  host.BeginStream();
  ASSERT_TRUE(host.OnMessage(Welcome{Term(1)}));
  EXPECT_TRUE(host.attached());
  std::optional<RankReport> report = AwaitOutgoing<RankReport>(host);
  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(report->steps.front().step, Step(4)) << "the oldest are gone";
  EXPECT_EQ(report->reports_dropped, 3);
}

TEST(SessionHost, CellsSayWhetherTheStreamIsOpen) {
  NoRanks ranks;
  SessionHost host(Identity(), 8, [] {});
  host.SetRanks(&ranks);
  host.BeginStream();
  ASSERT_TRUE(host.OnMessage(Welcome{Term(1)}));
  ASSERT_TRUE(host.OnMessage(AssignBoth()));
  std::unique_ptr<StepCoordination> rank0 = host.CoordinationFor(host.run());
  EXPECT_TRUE(rank0->Cells().attached);
  host.EndStream();
  EXPECT_FALSE(rank0->Cells().attached);
  host.BeginStream();
  EXPECT_FALSE(rank0->Cells().attached) << "not before the Welcome";
  ASSERT_TRUE(host.OnMessage(Welcome{Term(1)}));
  EXPECT_TRUE(rank0->Cells().attached);
}

TEST(SessionHost, AfterTheWelcomeTheReportsComeAndWhatLasts) {
  NoRanks ranks;
  SessionHost host(Identity(), 8, [] {});
  host.SetRanks(&ranks);
  host.BeginStream();
  ASSERT_TRUE(host.OnMessage(Welcome{Term(1)}));
  ASSERT_TRUE(host.OnMessage(AssignBoth()));
  RunId run = host.run();
  host.EndStream();
  host.OnStarted(run, Rank(0));
  host.OnStarted(run, Rank(1));
  StepReport report;
  report.step = Step(1);
  host.CoordinationFor(run)->OnReport(report);
  host.BeginStream();
  ASSERT_TRUE(host.OnMessage(Welcome{Term(2)}));
  int started = 0, reports = 0;
  while (std::optional<WorkerMessage> message = host.TakeOutgoing()) {
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

TEST(SessionHost, ARankOfAnOldGenerationIsNotHeard) {
  NoRanks ranks;
  SessionHost host(Identity(), 8, [] {});
  host.SetRanks(&ranks);
  host.BeginStream();
  ASSERT_TRUE(host.OnMessage(Welcome{Term(1)}));
  ASSERT_TRUE(host.OnMessage(AssignBoth()));
  RunId old_run = host.run();
  std::unique_ptr<StepCoordination> old_rank = host.CoordinationFor(old_run);
  ASSERT_TRUE(host.OnMessage(Abort{{Term(1), old_run.job, old_run.generation}, "test"}));
  EXPECT_EQ(ranks.aborted, 1);
  ASSERT_TRUE(host.OnMessage(AssignBoth(Generation(2))));
  EXPECT_EQ(ranks.started, 2);
  Outgoing(host);
  StepReport report;
  report.step = Step(5);
  old_rank->OnReport(report);
  host.OnFailure(old_run, Step(5), "too late");
  EXPECT_TRUE(Outgoing(host).empty());
  EXPECT_EQ(old_rank->Cells().staged, nullptr);
}

TEST(SessionHost, ARefusalForGoodEndsTheProcess) {
  SessionHost host(Identity(), 8, [] {});
  host.BeginStream();
  EXPECT_TRUE(host.OnMessage(Refused{"busy", /*retry=*/true}));
  EXPECT_FALSE(host.OnMessage(Refused{"go away", /*retry=*/false}));
}

TEST(StreamRendezvous, ValuesArriveFromBothSidesAndAbortEndsEveryWait) {
  std::vector<std::string> sent;
  StreamRendezvous rendezvous([&sent](const std::string& key, const std::string&) { sent.push_back(key); });
  ASSERT_TRUE(rendezvous.Put("mine", "a").ok());
  EXPECT_EQ(sent, (std::vector<std::string>{"mine"}));
  EXPECT_EQ(rendezvous.Get("mine", In(1)).value(), "a");
  rendezvous.Arrived("theirs", "b");
  rendezvous.Arrived("theirs", "another value for the same key");
  EXPECT_EQ(rendezvous.Get("theirs", In(1)).value(), "b");
  absl::Status late = rendezvous.Get("nobody's", In(0.05)).status();
  EXPECT_EQ(late.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_NE(late.message().find("nobody's"), absl::string_view::npos);

  std::thread aborter([&rendezvous] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    rendezvous.Abort("the generation is over");
  });
  Time begin = SteadyClock().Now();
  EXPECT_EQ(rendezvous.Get("nobody's", In(60)).status().code(), absl::StatusCode::kAborted);
  EXPECT_LT(ToSeconds(SteadyClock().Now() - begin), 5);
  aborter.join();
}

// A daemon with two ranks whose bodies are the test's; they meet through a thread communicator.
class Generations : public testing::Test {
 protected:
  Generations() : host_(Identity(), 64, [] {}), watch_(NeighbourWatch::Listen("127.0.0.1", 0).value()) {}

  void Begin(std::function<absl::StatusOr<RankResult>(const RankContext&, Communicator&)> train) {
    RankParts parts;
    parts.connect = [this](const RankContext& context, RendezvousStore&) {
      return group_->Take(context.rank);
    };
    parts.train = std::move(train);
    manager_ = std::make_unique<GenerationManager>(WorkerId("w0"), parts, &host_, watch_.get());
    host_.SetRanks(manager_.get());
    host_.BeginStream();
    ASSERT_TRUE(host_.OnMessage(Welcome{Term(1)}));
    Assign(Generation(1));
  }
  void Assign(Generation generation) {
    group_ = std::make_shared<ThreadCommunicatorGroup>(2);
    ASSERT_TRUE(host_.OnMessage(AssignBoth(generation)));
  }
  // Blocks in the communicator until it is aborted or lost.
  static absl::Status WaitForOther(const RankContext& context, Communicator& communicator);

  SessionHost host_;
  std::unique_ptr<NeighbourWatch> watch_;
  std::shared_ptr<ThreadCommunicatorGroup> group_;
  std::unique_ptr<GenerationManager> manager_;
};

class NoStream final : public Stream {};

absl::Status Generations::WaitForOther(const RankContext& context, Communicator& communicator) {
  NoStream stream;
  char byte = 0;
  auto pending = communicator.Exchange(stream, {},
                                       {{.from = Rank(1 - context.rank.value()), .data = &byte, .bytes = 1}});
  return communicator.Wait(*pending, In(60));
}

TEST_F(Generations, BothRanksStartAndFinish) {
  Begin([](const RankContext& context, Communicator&) -> absl::StatusOr<RankResult> {
    EXPECT_EQ(context.local_rank, context.rank.value());
    return RankResult{.step = Step(100), .stopped = true};
  });
  EXPECT_TRUE(AwaitOutgoing<Started>(host_).has_value());
  std::optional<Finished> finished = AwaitOutgoing<Finished>(host_);
  ASSERT_TRUE(finished.has_value());
  EXPECT_EQ(finished->step, Step(100));
  EXPECT_TRUE(finished->stopped);
  Assign(Generation(2));
  EXPECT_TRUE(AwaitOutgoing<Finished>(host_).has_value()) << "the next generation runs as well";
}

TEST_F(Generations, AFailureOfOneRankEndsTheOtherAndIsToldOnceWithItsStep) {
  Begin([](const RankContext& context, Communicator& communicator) -> absl::StatusOr<RankResult> {
    context.coordination->OnStepDone(context.rank, Step(4));
    if (context.rank == Rank(1)) return absl::ResourceExhaustedError("no memory");
    absl::Status status = WaitForOther(context, communicator);
    EXPECT_EQ(status.code(), absl::StatusCode::kAborted) << status;
    return status;
  });
  std::optional<JobFailure> failure = AwaitOutgoing<JobFailure>(host_);
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->step, Step(5));
  EXPECT_EQ(failure->cause, "rank 1: no memory");
  EXPECT_FALSE(AwaitOutgoing<JobFailure>(host_, 0.3).has_value()) << "told once";
}

TEST_F(Generations, ALostPeerIsReportedByItsRank) {
  Begin([](const RankContext& context, Communicator& communicator) -> absl::StatusOr<RankResult> {
    if (context.rank == Rank(1)) return LostPeerError(Rank(7), "connection reset");
    return WaitForOther(context, communicator);
  });
  std::optional<LostPeer> lost = AwaitOutgoing<LostPeer>(host_);
  ASSERT_TRUE(lost.has_value());
  EXPECT_EQ(lost->rank, Rank(7));
}

TEST_F(Generations, AnAbortWakesTheRanksAndNothingIsReported) {
  std::atomic<int> woken{0};
  std::atomic<int> waiting{0};
  Begin([&](const RankContext& context, Communicator& communicator) -> absl::StatusOr<RankResult> {
    ++waiting;
    absl::Status status = WaitForOther(context, communicator);
    ++woken;
    return status;
  });
  while (waiting < 2) std::this_thread::yield();
  RunId run = host_.run();
  Time begin = SteadyClock().Now();
  ASSERT_TRUE(host_.OnMessage(Abort{{Term(1), run.job, run.generation}, "test"}));
  while (woken < 2 && SteadyClock().Now() - begin < Seconds(5)) std::this_thread::yield();
  double seconds = ToSeconds(SteadyClock().Now() - begin);
  std::printf("abort to awake: %.4f s\n", seconds);
  EXPECT_LT(seconds, 0.3) << "three times 100 ms";
  EXPECT_FALSE(AwaitOutgoing<JobFailure>(host_, 0.2).has_value());
}

TEST_F(Generations, ANewAssignmentEndsTheOldGenerationFirst) {
  std::atomic<int> inside{0};
  Begin([&](const RankContext& context, Communicator& communicator) -> absl::StatusOr<RankResult> {
    EXPECT_LE(++inside, 2) << "two generations at once";
    absl::StatusOr<RankResult> result = RankResult{.step = Step(100)};
    if (context.assign->stamp.generation == Generation(1)) result = WaitForOther(context, communicator);
    --inside;
    return result;
  });
  ASSERT_TRUE(AwaitOutgoing<Started>(host_).has_value());
  Assign(Generation(2));
  std::optional<Finished> finished = AwaitOutgoing<Finished>(host_);
  ASSERT_TRUE(finished.has_value());
  EXPECT_EQ(finished->stamp.generation, Generation(2));
}

TEST(Ring, DaemonsAreNeighboursByTheirFirstRank) {
  RunId run{JobId("demo"), Generation(3)};
  std::vector<Member> members = {MemberOf(0, "b", 0), MemberOf(1, "b", 1), MemberOf(2, "a", 0),
                                 MemberOf(3, "c", 0)};
  NeighbourRing ring = RingOf(run, members, WorkerId("b")).value();
  EXPECT_EQ(ring.self, Rank(0));
  EXPECT_EQ(ring.next, Rank(2));
  EXPECT_EQ(ring.previous, Rank(3));
  EXPECT_EQ(ring.generation, Generation(3));
  ring = RingOf(run, members, WorkerId("c")).value();
  EXPECT_EQ(ring.next, Rank(0));
  EXPECT_EQ(ring.previous, Rank(2));
  EXPECT_FALSE(RingOf(run, {MemberOf(0, "b", 0), MemberOf(1, "b", 1)}, WorkerId("b")).has_value()) << "alone";
}

TEST(DataAddress, ALoopbackAddressIsRefusedForAPeerOnAnotherHost) {
  EXPECT_TRUE(CheckReachable({MemberOf(0, "a", 0), MemberOf(1, "b", 0, "127.0.0.2")}).ok());
  EXPECT_TRUE(CheckReachable({MemberOf(0, "a", 0, "10.0.0.1"), MemberOf(1, "b", 0, "10.0.0.2")}).ok());
  absl::Status refused = CheckReachable({MemberOf(0, "a", 0), MemberOf(1, "b", 0, "10.0.0.2")});
  EXPECT_EQ(
      refused.message(),
      "worker a on node node-a advertises the loopback address 127.0.0.1, which worker b on node node-b at "
      "10.0.0.2 cannot reach: start it with --data-address and an address that other hosts can reach");
  EXPECT_FALSE(CheckReachable({MemberOf(0, "a", 0, "localhost"), MemberOf(1, "b", 0, "10.0.0.2")}).ok());
  // Two containers of one machine, each with a loopback of its own.
  auto on = [](Member member, const std::string& host) {
    member.host = host;
    return member;
  };
  const Member a = MemberOf(0, "a", 0), b = MemberOf(1, "b", 0), far = MemberOf(1, "b", 0, "10.0.0.2");
  EXPECT_EQ(
      CheckReachable({on(a, "boot/1"), on(b, "boot/2")}).message(),
      "worker a on node node-a advertises the loopback address 127.0.0.1, which worker b on node node-b "
      "at 127.0.0.1 cannot reach: start it with --data-address and an address that other hosts can "
      "reach");
  EXPECT_TRUE(CheckReachable({on(a, "boot/1"), on(b, "boot/1")}).ok());
  EXPECT_TRUE(CheckReachable({on(a, "boot/1"), on(far, "boot/1")}).ok()) << "one host, two addresses";
  EXPECT_FALSE(CheckReachable({on(a, "boot/1"), on(far, "boot/2")}).ok());
  EXPECT_EQ(HostIdentity().value(), HostIdentity().value());
  EXPECT_NE(HostIdentity()->find('/'), std::string::npos);
  EXPECT_EQ(AddressTowards("127.0.0.1:1").value(), "127.0.0.1");
  EXPECT_FALSE(AddressTowards("nonsense").ok());
}

TEST(Backoff, IsSpreadAndBounded) {
  Backoff backoff(Seconds(0.1), Seconds(5), 3);
  double longest = 0;
  for (int i = 0; i < 200; ++i) {
    double wait = ToSeconds(backoff.Next());
    EXPECT_GE(wait, 0);
    EXPECT_LE(wait, i < 5 ? 0.1 * (1 << i) : 5.0) << i;
    longest = std::max(longest, wait);
  }
  EXPECT_GT(longest, 4.0);
  backoff.Reset();
  EXPECT_LE(ToSeconds(backoff.Next()), 0.1);
}

}  // namespace
}  // namespace ballast
