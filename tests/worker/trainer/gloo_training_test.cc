// Training over TCP is training in one process, bit for bit.
#include <gtest/gtest.h>

#include "base/check.h"
#include "tests/worker/comm/communicator_fixture.h"
#include "tests/worker/comm/memory_store.h"
#include "tests/worker/trainer/training_run.h"
#include "worker/comm/gloo_communicator.h"
#include "worker/comm/lost_peer.h"

namespace ballast {
namespace {

std::function<std::unique_ptr<Communicator>(Rank)> Over(MemoryStore& store, int ranks) {
  return [&store, ranks](Rank self) {
    auto communicator = ConnectGloo({.rank = self,
                                     .size = ranks,
                                     .generation = Generation(1),
                                     .data_address = "127.0.0.1",
                                     .deadline = After(60)},
                                    store);
    BALLAST_CHECK_OK(communicator.status());
    return *std::move(communicator);
  };
}

TEST(GlooTraining, TheSameBitsAsInOneProcess) {
  RunSpec spec;
  spec.job = TinyJob();
  spec.job.training.steps = 12;
  spec.job.training.evaluation_sequences = 5;
  for (int ranks : {2, 4}) {
    spec.ranks = ranks;
    spec.edit = [&](PlanBody& body) { body.layers[1].schedule.all_to_all = "two_level"; };
    spec.connect = nullptr;
    RunOutcome threads = RunTraining(spec);
    MemoryStore store;
    spec.connect = Over(store, ranks);
    RunOutcome gloo = RunTraining(spec);
    for (const TrainResult& result : gloo.results) EXPECT_TRUE(result.status.ok()) << result.status;
    ASSERT_EQ(gloo.reports.size(), 12u);
    EXPECT_EQ(gloo.losses(), threads.losses());
    ASSERT_EQ(gloo.evaluations.size(), threads.evaluations.size());
    for (size_t i = 0; i < gloo.evaluations.size(); ++i) {
      EXPECT_EQ(gloo.evaluations[i].loss, threads.evaluations[i].loss);
    }
    EXPECT_EQ(gloo.stats[0].operations, threads.stats[0].operations);
    EXPECT_EQ(gloo.stats[0].bytes_sent, threads.stats[0].bytes_sent);
    // Of each dispatch of the forward passes a message is timed, unless none came.
    const int dispatches = spec.job.model.layers;
    for (const auto& [rank, steps] : gloo.rank_steps) {
      int64_t timed = 0;
      for (const RankStep& step : steps) {
        for (const LinkUse& link : step.links) {
          timed += link.timed_messages;
          EXPECT_EQ(link.timed_seconds > 0, link.timed_messages > 0);
          EXPECT_EQ(link.timed_bytes > 0, link.timed_messages > 0);
          EXPECT_LE(link.timed_seconds, link.receive_seconds);
        }
      }
      EXPECT_GE(timed, static_cast<int64_t>(steps.size())) << "rank " << rank.value();
      EXPECT_EQ(timed % dispatches, 0) << "a message of each layer";
    }
  }
}

// All ranks see the failure in the same table; leaving must not turn it into a lost peer for the slower ones.
TEST(GlooTraining, AFailedStepIsTheSameErrorOnAllRanks) {
  RunSpec spec;
  spec.job = TinyJob();
  spec.ranks = 4;
  spec.job.optimizer.learning_rate = 1e37;
  spec.job.optimizer.warmup_steps = 0;
  MemoryStore store;
  spec.connect = Over(store, spec.ranks);
  RunOutcome outcome = RunTraining(spec);
  for (const TrainResult& result : outcome.results) {
    EXPECT_EQ(result.status.code(), absl::StatusCode::kFailedPrecondition) << result.status;
    EXPECT_EQ(result.status, outcome.results[0].status);
  }
}

// The codes include that of failures which all ranks share: this one is of one rank alone all the same.
TEST(GlooTraining, AFailureOfOneRankEndsTheOthers) {
  for (absl::Status failure :
       {absl::DataLossError("the disk is gone"), absl::FailedPreconditionError("the disk is gone")}) {
    RunSpec spec;
    spec.job = TinyJob();
    spec.ranks = 3;
    spec.read_error = [&](Rank rank, Step step) {
      return rank == Rank(1) && step == Step(3) ? failure : absl::OkStatus();
    };
    MemoryStore store;
    spec.connect = Over(store, spec.ranks);
    RunOutcome outcome = RunTraining(spec);
    EXPECT_EQ(outcome.results[1].status, failure);
    for (int rank : {0, 2}) {
      EXPECT_TRUE(LostPeerOf(outcome.results[rank].status).has_value()) << outcome.results[rank].status;
    }
  }
}

}  // namespace
}  // namespace ballast
