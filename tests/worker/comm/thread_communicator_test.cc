#include "worker/comm/thread_communicator.h"

#include <gtest/gtest.h>

#include <atomic>
#include <numeric>

#include "tests/worker/comm/communicator_fixture.h"
#include "worker/comm/lost_peer.h"

namespace ballast {
namespace {

using std::chrono::steady_clock;

// Deadline of a wake-up: three times the promised 100 ms.
constexpr double kWakeSecondsMax = 0.3;

TEST(ThreadCommunicator, ExchangeCarriesEveryPair) {
  constexpr int kRanks = 4;
  ThreadCommunicatorGroup group(kRanks);
  OnAllRanks(kRanks, [&](Rank self) {
    auto communicator = group.Take(self);
    NoStream stream;
    for (int round = 0; round < 20; ++round) {
      // Rank a sends a * 10 + b + round to b, itself included, in (a + b) % 3 words: some messages are empty.
      std::vector<std::vector<int>> out(kRanks), in(kRanks);
      std::vector<SendOp> sends;
      std::vector<RecvOp> recvs;
      for (int peer = 0; peer < kRanks; ++peer) {
        int words = (self.value() + peer) % 3;
        out[peer].assign(words, self.value() * 10 + peer + round);
        in[peer].assign(words, -1);
        sends.push_back({Rank(peer), out[peer].data(), words * sizeof(int)});
        recvs.push_back({Rank(peer), in[peer].data(), words * sizeof(int)});
      }
      auto pending = communicator->Exchange(stream, sends, recvs);
      ASSERT_TRUE(communicator->Wait(*pending, After(30)).ok());
      for (int peer = 0; peer < kRanks; ++peer) {
        for (int word : in[peer]) EXPECT_EQ(word, peer * 10 + self.value() + round);
      }
    }
    EXPECT_EQ(communicator->stats().operations, 20);
  });
  EXPECT_EQ(group.PairStats(Rank(1), Rank(0)).messages_sent, 20);
  EXPECT_EQ(group.PairStats(Rank(1), Rank(0)).bytes_sent, 20 * 4);
  EXPECT_EQ(group.PairStats(Rank(1), Rank(2)).messages_sent, 0);  // 0 bytes are no message
}

TEST(ThreadCommunicator, AllGatherOfUnevenPartsAndWaitsOutOfOrder) {
  constexpr int kRanks = 3;
  ThreadCommunicatorGroup group(kRanks);
  OnAllRanks(kRanks, [&](Rank self) {
    auto communicator = group.Take(self);
    NoStream stream;
    std::vector<size_t> bytes = {4, 0, 8};
    std::vector<int32_t> first(2, 7 + self.value()), second(2, 70 + self.value());
    std::vector<int32_t> first_all(3), second_all(3);
    auto a = communicator->AllGather(stream, first.data(), bytes, first_all.data());
    auto b = communicator->AllGather(stream, second.data(), bytes, second_all.data());
    ASSERT_TRUE(communicator->Wait(*b, After(30)).ok());
    ASSERT_TRUE(communicator->Wait(*a, After(30)).ok());
    EXPECT_EQ(first_all, (std::vector<int32_t>{7, 9, 9}));
    EXPECT_EQ(second_all, (std::vector<int32_t>{70, 72, 72}));
  });
}

TEST(ThreadCommunicator, AbortWakesEveryWait) {
  ThreadCommunicatorGroup group(3);
  std::vector<std::unique_ptr<Communicator>> communicators;
  for (int r = 0; r < 3; ++r) communicators.push_back(group.Take(Rank(r)));
  std::atomic<int> waiting = 0;
  steady_clock::time_point aborted;
  std::thread aborter([&] {
    while (waiting < 2) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    aborted = steady_clock::now();
    communicators[0]->Abort("test");
  });
  absl::Status status[2];
  double seconds[2];
  // Ranks 0 and 1 gather, rank 2 never comes. Rank 0 is aborted; rank 1 then loses its peer 0 and ends as
  // well.
  std::thread threads[2];
  for (int r = 0; r < 2; ++r) {
    threads[r] = std::thread([&, r] {
      NoStream stream;
      int in = r, out[3];
      auto pending = communicators[r]->AllGather(stream, &in, {4, 4, 4}, out);
      ++waiting;
      status[r] = communicators[r]->Wait(*pending, After(60));
      seconds[r] = ToSeconds(steady_clock::now() - aborted);
      if (r == 0) return;
    });
  }
  threads[0].join();
  communicators[1]->Abort("second");
  communicators[1]->Abort("again");
  threads[1].join();
  aborter.join();
  EXPECT_EQ(status[0].code(), absl::StatusCode::kAborted);
  EXPECT_EQ(status[0].message(), "test");
  EXPECT_EQ(status[1].code(), absl::StatusCode::kAborted);
  std::cout << "woken after " << seconds[0] * 1e3 << " ms and " << seconds[1] * 1e3 << " ms\n";
  EXPECT_LT(seconds[0], kWakeSecondsMax);
  EXPECT_LT(seconds[1], kWakeSecondsMax);

  // Dead is dead.
  NoStream stream;
  int in = 0, out[3];
  auto pending = communicators[0]->AllGather(stream, &in, {4, 4, 4}, out);
  EXPECT_EQ(communicators[0]->Wait(*pending, After(60)).code(), absl::StatusCode::kAborted);
}

TEST(ThreadCommunicator, LostPeerIsNamed) {
  ThreadCommunicatorGroup group(3);
  OnAllRanks(3, [&](Rank self) {
    auto communicator = group.Take(self);
    NoStream stream;
    int in = self.value(), out[3] = {};
    if (self == Rank(1)) {
      // What was sent before the death still arrives.
      auto pending = communicator->AllGather(stream, &in, {4, 4, 4}, out);
      ASSERT_TRUE(communicator->Wait(*pending, After(60)).ok());
      group.Kill(Rank(1));
      pending = communicator->AllGather(stream, &in, {4, 4, 4}, out);
      EXPECT_EQ(communicator->Wait(*pending, After(60)).code(), absl::StatusCode::kAborted);
      return;
    }
    auto pending = communicator->AllGather(stream, &in, {4, 4, 4}, out);
    ASSERT_TRUE(communicator->Wait(*pending, After(60)).ok());
    std::vector<SendOp> sends = {{Rank(1), &in, 4}};
    std::vector<RecvOp> recvs = {{Rank(1), out, 4}};
    pending = communicator->Exchange(stream, sends, recvs);
    absl::Status status = communicator->Wait(*pending, After(60));
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_NE(std::string(status.message()).find("rank 1"), std::string::npos) << status;
    EXPECT_EQ(LostPeerOf(status), Rank(1));
    pending = communicator->Exchange(stream, {}, {});
    EXPECT_EQ(communicator->Wait(*pending, After(60)).code(), absl::StatusCode::kUnavailable);
  });
}

TEST(ThreadCommunicator, DeadlineAndWrongSizeAreErrors) {
  ThreadCommunicatorGroup group(2);
  auto left = group.Take(Rank(0));
  auto right = group.Take(Rank(1));
  NoStream stream;
  char data[8] = {};
  auto sent = right->Exchange(stream, {{Rank(0), data, 8}}, {});
  auto pending = left->Exchange(stream, {}, {{Rank(1), data, 4}});
  absl::Status status = left->Wait(*pending, After(60));
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_NE(std::string(status.message()).find("8 bytes"), std::string::npos) << status;

  ThreadCommunicatorGroup second(2);
  auto one = second.Take(Rank(0));
  auto other = second.Take(Rank(1));
  pending = one->Exchange(stream, {}, {{Rank(1), data, 4}});
  status = one->Wait(*pending, After(0.05));
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_NE(std::string(status.message()).find("rank 1"), std::string::npos) << status;
}

}  // namespace
}  // namespace ballast
