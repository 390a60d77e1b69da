// Small parts of the worker daemon below gRPC: rendezvous, neighbours, addresses, back-off.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/daemons/worker_messages.h"
#include "worker/agent/backoff.h"
#include "worker/daemon/data_address.h"
#include "worker/daemon/generation_manager.h"

namespace ballast {
namespace {

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
