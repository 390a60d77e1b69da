// Generations of ranks in one daemon: how they start, fail, are aborted and follow each other.
#include <gtest/gtest.h>

#include <atomic>

#include "base/mutex.h"
#include "tests/daemons/worker_messages.h"
#include "worker/comm/lost_peer.h"
#include "worker/comm/thread_communicator.h"
#include "worker/daemon/generation_manager.h"

namespace ballast {
namespace {

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

}  // namespace
}  // namespace ballast
