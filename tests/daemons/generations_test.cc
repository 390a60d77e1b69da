// Generations of ranks in one daemon: how they start, fail, are aborted and follow each other.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "tests/daemons/worker_messages.h"
#include "worker/comm/lost_peer.h"
#include "worker/comm/thread_communicator.h"
#include "worker/daemon/generation_manager.h"
#include "worker/trainer/retained_rank.h"

namespace ballast {
namespace {

// A daemon with two ranks whose bodies are the test's; they meet through a thread communicator.
class Generations : public testing::Test {
 protected:
  Generations() : host_(Identity(), 64, [] {}), watch_(NeighbourWatch::Listen("127.0.0.1", 0).value()) {}

  void Begin(std::function<absl::StatusOr<RankResult>(RankContext&, Communicator&)> train) {
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
  void Assign(Generation generation, Generation retained = {}) {
    group_ = std::make_shared<ThreadCommunicatorGroup>(2);
    ballast::Assign assign = AssignBoth(generation);
    assign.retained = retained;
    ASSERT_TRUE(host_.OnMessage(assign));
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

// What the ranks of a generation leave is there for the next one that asks for it, and for no other.
TEST_F(Generations, WhatRanksLeaveIsThereForTheNextGenerationAlone) {
  const auto leave = [](RankContext& context, int64_t applied) {
    auto left = std::make_shared<RetainedRank>();
    left->homes.applied = Step(applied);
    context.retained = left;
  };
  std::atomic<int> empty{0}, taken{0};
  Begin([&](RankContext& context, Communicator& communicator) -> absl::StatusOr<RankResult> {
    const Generation generation = context.assign->stamp.generation;
    if (context.retained == nullptr) ++empty;
    if (context.retained != nullptr && context.retained->homes.applied == Step(7 + context.rank.value()))
      ++taken;
    absl::Status status = WaitForOther(context, communicator);
    // As it ends before it has made anything of what it was given, the second one leaves that.
    if (generation == Generation(1)) leave(context, 7 + context.rank.value());
    if (generation == Generation(3)) context.retained = nullptr;
    return status;
  });
  const auto next = [&](int64_t generation, int64_t retained) {
    ASSERT_TRUE(AwaitOutgoing<Started>(host_).has_value());
    ASSERT_TRUE(
        host_.OnMessage(Abort{{Term(1), JobId("demo"), Generation(generation - 1)}, "a connection is lost"}));
    ASSERT_TRUE(AwaitOutgoing<Frozen>(host_).has_value());
    Assign(Generation(generation), Generation(retained));
  };
  next(2, 1);
  next(3, 2);
  // Nothing is left of the third: the next one cannot begin, and may be tried in another way.
  next(4, 3);
  const std::optional<JobFailure> failure = AwaitOutgoing<JobFailure>(host_);
  ASSERT_TRUE(failure.has_value());
  EXPECT_NE(failure->cause.find("what it held of generation 3 is gone"), std::string::npos) << failure->cause;
  EXPECT_TRUE(failure->retry);
  ASSERT_TRUE(host_.OnMessage(Abort{{Term(1), JobId("demo"), Generation(4)}, "over"}));
  const std::optional<Frozen> frozen = AwaitOutgoing<Frozen>(host_);
  ASSERT_TRUE(frozen.has_value());
  EXPECT_FALSE(frozen->ranks[0].holds && frozen->ranks[1].holds);
  EXPECT_EQ(empty, 2) << "the first generation";
  EXPECT_EQ(taken, 4) << "the second and the third";
}

// When its job has ended, what ranks left is let go at once: after they have ended by themselves, while they
// are still leaving, and when they had left for another generation that never came. An Abort that says
// nothing of the job's end lets nothing go.
TEST_F(Generations, WhatRanksLeaveIsLetGoWhenTheJobHasEnded) {
  Mutex mutex;
  std::vector<std::weak_ptr<const RetainedRank>> left;
  const auto held = [&] {
    MutexLock lock(mutex);
    return std::count_if(left.begin(), left.end(), [](const auto& one) { return !one.expired(); });
  };
  const auto await_held = [&](int64_t wanted) {
    for (Time deadline = In(10); held() != wanted && SteadyClock().Now() < deadline;)
      std::this_thread::yield();
    return held();
  };
  std::atomic<bool> may_leave{true};
  Begin([&](RankContext& context, Communicator& communicator) -> absl::StatusOr<RankResult> {
    const Generation generation = context.assign->stamp.generation;
    absl::Status status =
        generation == Generation(1) ? absl::OkStatus() : WaitForOther(context, communicator);
    while (!may_leave) std::this_thread::yield();
    auto state = std::make_shared<const RetainedRank>();
    context.retained = state;
    MutexLock lock(mutex);
    left.push_back(state);
    if (!status.ok()) return status;
    return RankResult{.step = Step(100)};
  });
  const auto abort = [&](int64_t generation, bool job_ended) {
    ASSERT_TRUE(host_.OnMessage(Abort{.stamp = {Term(1), JobId("demo"), Generation(generation)},
                                      .reason = "over",
                                      .job_ended = job_ended}));
    ASSERT_TRUE(AwaitOutgoing<Frozen>(host_).has_value());
  };
  ASSERT_TRUE(AwaitOutgoing<Finished>(host_).has_value());
  ASSERT_EQ(await_held(2), 2);
  abort(1, true);
  EXPECT_EQ(await_held(0), 0) << "they had ended by themselves";

  Assign(Generation(2));
  ASSERT_TRUE(AwaitOutgoing<Started>(host_).has_value());
  may_leave = false;
  abort(2, true);
  may_leave = true;
  for (size_t ended = 0; ended < 4; std::this_thread::yield()) {
    MutexLock lock(mutex);
    ended = left.size();
  }
  EXPECT_EQ(await_held(0), 0) << "they were still leaving";

  Assign(Generation(3));
  ASSERT_TRUE(AwaitOutgoing<Started>(host_).has_value());
  abort(3, false);
  ASSERT_EQ(await_held(2), 2);
  usleep(50'000);
  EXPECT_EQ(held(), 2) << "another generation may follow";
  abort(3, true);
  EXPECT_EQ(await_held(0), 0) << "none followed";
  manager_->Shutdown("the test is over");
}

// The second generation and the third are aborted while the first one is still leaving; what that left is
// there for the fourth.
TEST_F(Generations, AGenerationThatIsOverInTheQueueLeavesWhatItWasToGoOnWith) {
  std::atomic<bool> leaving{false}, may_leave{false};
  std::atomic<int> taken{0};
  Begin([&](RankContext& context, Communicator& communicator) -> absl::StatusOr<RankResult> {
    if (context.retained != nullptr && context.assign->stamp.generation == Generation(4)) ++taken;
    absl::Status status = WaitForOther(context, communicator);
    if (context.assign->stamp.generation == Generation(1)) {
      leaving = true;
      while (!may_leave) std::this_thread::yield();
      context.retained = std::make_shared<RetainedRank>();
    }
    return status;
  });
  ASSERT_TRUE(AwaitOutgoing<Started>(host_).has_value());
  const auto abort = [&](int64_t generation) {
    ASSERT_TRUE(host_.OnMessage(Abort{{Term(1), JobId("demo"), Generation(generation)}, "over"}));
    ASSERT_TRUE(AwaitOutgoing<Frozen>(host_).has_value());
  };
  abort(1);
  while (!leaving) std::this_thread::yield();
  Assign(Generation(2), Generation(1));
  abort(2);
  Assign(Generation(3), Generation(2));
  abort(3);
  Assign(Generation(4), Generation(3));
  may_leave = true;
  const std::optional<Started> started = AwaitOutgoing<Started>(host_);
  ASSERT_TRUE(started.has_value());
  EXPECT_EQ(started->stamp.generation, Generation(4));
  abort(4);
  manager_->Shutdown("the test is over");
  EXPECT_EQ(taken, 2);
}

}  // namespace
}  // namespace ballast
