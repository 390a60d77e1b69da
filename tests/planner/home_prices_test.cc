// The live planner where links are measured: J by home and slot costs, and homes that follow when it pays.
#include "coordinator/planner/home_prices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/planner/loop.h"

namespace ballast {
namespace {

using testing::Draw;
using ::testing::HasSubstr;
using testing::Loop;

constexpr int kRanks = 4;
constexpr int64_t kTokens = 4096;

// Two nodes of two ranks; an expert's gradient takes as long as `rows` rows between nodes, a tenth inside
// one.
Loop MakeLoop(double rows) {
  JobConfig job = testing::SmallJob(2, 8, 3);
  job.planner.strategy = "auto";
  Loop loop(job, kRanks);
  loop.topology = Topology::FromNodeNames({"a", "a", "b", "b"});
  loop.nic_byte_cost = rows / (4.0 * static_cast<double>(loop.layout.expert_elements()));
  loop.node_byte_cost = loop.nic_byte_cost / 10;
  return loop;
}

double RunSkewed(Loop& loop) {
  Rng rng(7);
  const std::vector<double> skewed = {8, 4, 2, 1, 1, 1, 1, 1};
  double last = 0;
  for (int s = 1; s <= 100; ++s) {
    loop.Run({Draw(rng, skewed, kTokens), Draw(rng, skewed, kTokens)});
    if (s > 80) last += loop.imbalance / 20;
  }
  return last;
}

int CopiesBetweenNodes(const Loop& loop) {
  int between = 0;
  for (const LayerPlan& layer : loop.current.layers) {
    for (const auto& hosts : layer.Hosts(loop.layout.experts())) {
      for (Rank host : hosts) between += loop.topology.node(host) != loop.topology.node(hosts[0]);
    }
  }
  return between;
}

// A balanced step is 1024 rows. Where bytes are as good as free, copies are made for the last percent; where
// an expert's gradient takes longer than a step, for what pays; where it takes many, nothing is worth a copy.
TEST(HomePrices, DearBytesMakeFewerCopies) {
  Loop cheap = MakeLoop(0.1), dear = MakeLoop(400), absurd = MakeLoop(50'000);
  EXPECT_LT(RunSkewed(cheap), 1.08) << cheap.Describe();
  RunSkewed(dear);
  RunSkewed(absurd);
  EXPECT_GE(cheap.SlotPlans(), 1);
  EXPECT_GT(CopiesBetweenNodes(cheap), CopiesBetweenNodes(dear)) << cheap.Describe() << "\n"
                                                                 << dear.Describe();
  EXPECT_GE(dear.SlotPlans(), 1) << dear.Describe();
  for (const LayerPlan& layer : absurd.current.layers) {
    for (const auto& hosts : layer.Hosts(8)) EXPECT_EQ(hosts.size(), 1u) << absurd.Describe();
  }
}

TEST(HomePrices, TheReasonAndTheExplanationTellThem) {
  Loop loop = MakeLoop(2);
  Rng rng(7);
  const std::vector<double> skewed = {8, 4, 2, 1, 1, 1, 1, 1};
  for (int s = 1; s <= 6; ++s) loop.Run({Draw(rng, skewed, kTokens), Draw(rng, skewed, kTokens)}, false);
  const auto decision = Decide(Planners(), loop.Input());
  ASSERT_TRUE(decision.ok());
  ASSERT_TRUE(decision->body.has_value()) << decision->why;
  EXPECT_THAT(decision->why, HasSubstr("of a layer's step"));
  EXPECT_EQ(
      decision->explanation.prices,
      "measured: an expert's gradient or weights between nodes take as long as computing 2 rows, inside a "
      "node 0.2; moving its home between nodes, once, 6");
  bool sync = false, moves = false;
  for (const LayerExplanation& layer : decision->explanation.layers) {
    for (const LayerCandidate& one : layer.candidates) {
      EXPECT_NEAR(one.cost, one.load_cost + one.sync_cost + one.port_cost + one.moves_cost, 1e-12)
          << one.name;
      // A slot sends at most its gradient (2 of 1024 rows) and gets as much; a home serves at most four.
      EXPECT_LT(one.sync_cost, 3 * 4 * 2 * 2.0 / 1000) << one.name;
      sync |= one.sync_cost > 0.0005;
      moves |= one.moves_cost > 0;
    }
  }
  EXPECT_TRUE(sync);
  EXPECT_TRUE(moves);
  loop.nic_byte_cost = 0;
  EXPECT_THAT(PricesText(loop.Input()), HasSubstr("flat, 0.02 of a layer's balanced step"));
}

// All tokens want expert 0, on rank 0: half come from the other node, 2,000 over that rank's port, or on
// rails 1,000 over each port of its node, after which 1,000 are handed on at a tenth. A balanced step is
// 1,000.
TEST(HomePrices, PortsAreCountedAsTheAllowedAllToAllsLoadThem) {
  Loop loop = MakeLoop(0.1);
  for (int s = 0; s < 3; ++s) loop.Run({{4000, 0, 0, 0, 0, 0, 0, 0}, {4000, 0, 0, 0, 0, 0, 0, 0}}, false);
  const auto cost_as_it_is = [&] {
    PlanInput input = loop.Input();
    input.port_cost = 1;
    const Proposal proposal = Planners().Find("auto").value()->Propose(input);
    for (const LayerCandidate& one : proposal.explanation.layers.at(0).candidates) {
      if (one.name == kAsItIs) return one.port_cost;
    }
    return -1.0;
  };
  EXPECT_NEAR(cost_as_it_is(), 1.1, 1e-9);
  loop.limits.all_to_alls = {"direct", "two_level"};
  EXPECT_NEAR(cost_as_it_is(), 2, 1e-9);
}

TEST(HomePrices, HomesFollowOnceTheRentIsPaid) {
  Loop loop = MakeLoop(1);
  // Expert 0 lives on rank 0 and computes on rank 2, on the other node: 8 bytes a parameter and step; its
  // state has 12.
  for (LayerPlan& layer : loop.current.layers) {
    layer.slots[0][0] = Slot();
    layer.slots[2][2] = ExpertId(0);
  }
  EXPECT_EQ(ExpertHomesOf(loop.current.homes, loop.layout, 0)[0], (ExpertHomes{{0, 1}}));
  loop.step = 10;
  loop.active_since = Step(10);
  EXPECT_FALSE(HomesThatFollow(loop.Input()).has_value()) << "one step was lost";
  loop.step = 11;
  const auto moved = HomesThatFollow(loop.Input());
  ASSERT_TRUE(moved.has_value());
  EXPECT_EQ(ExpertHomesOf(moved->homes, loop.layout, 0)[0], (ExpertHomes{{2, 1}}));
  EXPECT_EQ(ExpertHomesOf(moved->homes, loop.layout, 1)[1],
            ExpertHomesOf(loop.current.homes, loop.layout, 1)[1]);
}

}  // namespace
}  // namespace ballast
