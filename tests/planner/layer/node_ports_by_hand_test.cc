// Loads of ports, and what is made of them, in cases small enough to be counted by hand.
#include <gtest/gtest.h>

#include <vector>

#include "base/rng.h"
#include "coordinator/planner/layer/hier_split_pack.h"
#include "coordinator/planner/layer/node_ports.h"

namespace ballast {
namespace {

TEST(NodePorts, LoadsByHand) {
  // Nodes {0, 1} and {2, 3}. Expert 0 sits on rank 0 alone, expert 1 on ranks 1 and 2.
  const LayerTask task = UniformTask({400, 800}, 4, 1, 2);
  const PortLoads loads = PortLoadsOf(task, {{0}, {1}, {1}, {kNoExpert}});
  EXPECT_EQ(loads.tokens, (std::vector<double>{400, 400, 400, 0}));
  EXPECT_EQ(loads.in, (std::vector<double>{200, 0, 0, 0}));
  EXPECT_EQ(loads.out, (std::vector<double>{0, 0, 100, 100}));
  PortCosts straight;
  straight.rails = false;
  PortCosts slow = straight;
  slow.slowdowns = {1, 1, 3, 1};
  EXPECT_EQ(BusiestPort(task, {{0}, {1}, {1}, {kNoExpert}}, straight), 200);
  EXPECT_EQ(BusiestPort(task, {{0}, {1}, {1}, {kNoExpert}}, slow), 300);
  EXPECT_EQ(BusiestPort(UniformTask({400, 800}, 4, 1, 4), {{0}, {1}, {1}, {kNoExpert}}, straight), 0)
      << "one node";
}

TEST(NodePorts, RailsByHand) {
  // As above: ranks 2 and 3 send 100 each to rank 0. On rails the one's come over rank 0's port, the other's
  // over rank 1's.
  const LayerTask task = UniformTask({400, 800}, 4, 1, 2);
  const SlotTable table = {{0}, {1}, {1}, {kNoExpert}};
  EXPECT_EQ(PortLoadsOf(task, table).rails_in, (std::vector<double>{100, 100, 0, 0}));
  PortCosts costs;
  costs.inside = 0;
  EXPECT_EQ(BusiestPort(task, table, costs), 100) << "sent straight, rank 0's port gets 200";
  costs.inside = 0.25;
  EXPECT_EQ(BusiestPort(task, table, costs), 125) << "and rank 1 hands 100 on to rank 0";
  costs.slowdowns = {3, 1, 1, 1};
  EXPECT_EQ(BusiestPort(task, table, costs), 325);
  costs = PortCosts();
  costs.inside = 2;
  EXPECT_EQ(BusiestPort(task, table, costs), 200) << "straight is better";
  // Three ranks send over the ports of two: those of the first and third meet.
  LayerTask uneven = UniformTask({600, 900}, 5, 1, 5);
  uneven.node_of_rank = {0, 0, 1, 1, 1};
  EXPECT_EQ(PortLoadsOf(uneven, {{0}, {1}, {1}, {kNoExpert}, {kNoExpert}}).rails_in,
            (std::vector<double>{240, 120, 0, 0, 0}));
}

// A port that is slow gets less: what its node alone has goes elsewhere.
TEST(NodePorts, ASlowPortGetsLess) {
  Rng rng(122);
  std::vector<int64_t> loads;
  for (int e = 0; e < 16; ++e) loads.push_back(rng.Between(2000, 6000));
  const LayerTask task = UniformTask(loads, 8, 3, 4);
  PortCosts costs;
  costs.rails = false;
  int64_t evaluations = 4000;
  const SlotTable blind = BalancePorts(task, HierSplitPack(task), costs, evaluations);
  costs.slowdowns = {1, 1, 4, 1, 1, 1, 1, 1};
  evaluations = 4000;
  const SlotTable knows = BalancePorts(task, HierSplitPack(task), costs, evaluations);
  EXPECT_LT(PortLoadsOf(task, knows).in[2], 0.8 * PortLoadsOf(task, blind).in[2]);
  EXPECT_LT(PortObjective(task, knows, costs), PortObjective(task, blind, costs));
}

}  // namespace
}  // namespace ballast
