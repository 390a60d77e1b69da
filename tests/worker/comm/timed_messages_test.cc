#include "worker/comm/timed_messages.h"

#include <gtest/gtest.h>

#include <vector>

namespace ballast {
namespace {

TEST(TimedMessages, TheSlowestPortIsThatToOtherNodes) {
  const Topology topology = Topology::FromNodeNames({"a", "a", "b", "b"});
  const std::vector<RecvOp> recvs = {
      {Rank(0), nullptr, 7}, {Rank(1), nullptr, 100}, {Rank(2), nullptr, 10}, {Rank(3), nullptr, 30}};
  const PortMessages between = SlowestPort(recvs, Rank(0), topology);
  EXPECT_EQ(between.peers, (std::vector<Rank>{Rank(2), Rank(3)}));
  EXPECT_EQ(between.bytes, 40);
  const PortMessages inside = SlowestPort({recvs[0], recvs[1]}, Rank(0), topology);
  EXPECT_EQ(inside.peers, (std::vector<Rank>{Rank(1)}));
  EXPECT_EQ(inside.bytes, 100);
  EXPECT_EQ(BytesBeside(recvs, 2, Rank(0), topology), 20);
  EXPECT_EQ(BytesBeside(recvs, 3, Rank(0), topology), 40);
  EXPECT_EQ(BytesBeside(recvs, 1, Rank(0), topology), 100) << "nothing of its own";
}

}  // namespace
}  // namespace ballast
