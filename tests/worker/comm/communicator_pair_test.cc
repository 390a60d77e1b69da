#include "worker/comm/communicator_pair.h"

#include <gtest/gtest.h>

#include "tests/worker/comm/communicator_fixture.h"
#include "worker/comm/thread_communicator.h"

namespace ballast {
namespace {

constexpr int kRanks = 2;
// Deadline of a wake-up: three times the promised 100 ms.
constexpr double kWakeSecondsMax = 0.3;

std::unique_ptr<CommunicatorPair> Pair(ThreadCommunicatorGroup& main, ThreadCommunicatorGroup& refresh,
                                       Rank self) {
  return std::make_unique<CommunicatorPair>(main.Take(self), refresh.Take(self));
}

TEST(CommunicatorPair, EachCarriesItsOwnAndTheCountersAreOfBoth) {
  ThreadCommunicatorGroup main(kRanks), refresh(kRanks);
  OnAllRanks(kRanks, [&](Rank self) {
    auto pair = Pair(main, refresh, self);
    const Rank peer(1 - self.value());
    NoStream stream;
    const std::string rows(3, static_cast<char>('a' + self.value())),
        weights(5, static_cast<char>('x' + self.value()));
    std::string rows_in(3, '?'), weights_in(5, '?');
    auto first = pair->Exchange(stream, {{peer, rows.data(), 3}}, {{peer, rows_in.data(), 3}});
    auto second =
        pair->refresh().Exchange(stream, {{peer, weights.data(), 5}}, {{peer, weights_in.data(), 5}});
    ASSERT_TRUE(pair->refresh().Wait(*second, After(30)).ok());
    ASSERT_TRUE(pair->Wait(*first, After(30)).ok());
    EXPECT_EQ(rows_in, std::string(3, static_cast<char>('a' + peer.value())));
    EXPECT_EQ(weights_in, std::string(5, static_cast<char>('x' + peer.value())));
    EXPECT_EQ(pair->stats().operations, 2);
    EXPECT_EQ(pair->stats().messages_sent, 2);
    EXPECT_EQ(pair->stats().bytes_sent, 8);
    EXPECT_EQ(pair->peers()[peer.index()].bytes_sent, 8);
    EXPECT_EQ(pair->peers()[peer.index()].bytes_received, 8);
    EXPECT_GT(pair->peers()[peer.index()].receive_seconds, 0);
  });
  EXPECT_EQ(main.PairStats(Rank(0), Rank(1)).bytes_sent, 3);
  EXPECT_EQ(refresh.PairStats(Rank(0), Rank(1)).bytes_sent, 5);
}

TEST(CommunicatorPair, AnAbortWakesAWaitOnEither) {
  for (bool in_refresh : {false, true}) {
    ThreadCommunicatorGroup main(kRanks), refresh(kRanks);
    auto pair = Pair(main, refresh, Rank(0)), silent = Pair(main, refresh, Rank(1));
    NoStream stream;
    char byte = 0;
    Communicator& waits = in_refresh ? pair->refresh() : *pair;
    auto pending = waits.Exchange(stream, {}, {{Rank(1), &byte, 1}});
    absl::Status status;
    std::thread waiter([&] { status = waits.Wait(*pending, After(30)); });
    const auto begin = std::chrono::steady_clock::now();
    pair->Abort("the job ends");
    waiter.join();
    EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(),
              kWakeSecondsMax);
    EXPECT_EQ(status.code(), absl::StatusCode::kAborted) << status;
    for (Communicator* dead : {static_cast<Communicator*>(pair.get()), &pair->refresh()}) {
      auto late = dead->Exchange(stream, {}, {{Rank(1), &byte, 1}});
      EXPECT_EQ(dead->Wait(*late, After(30)).code(), absl::StatusCode::kAborted);
    }
  }
}

}  // namespace
}  // namespace ballast
