// What homes cost, against a ledger of single blocks and against trying both ways.
#include "coordinator/planner/layer/home_traffic.h"

#include <gtest/gtest.h>

#include <map>

#include "coordinator/planner/layer/objective.h"
#include "tests/planner/layer/checkers.h"

namespace ballast {
namespace {

constexpr int kBlocks = 6;

// Every block of every expert with its home: [expert][block].
using Owners = std::vector<std::vector<int>>;

Owners RandomOwners(Rng& rng, int experts, int ranks) {
  Owners owners(static_cast<size_t>(experts));
  for (auto& of_expert : owners) {
    const bool one = rng.Chance(0.5);
    const int rank = static_cast<int>(rng.Below(static_cast<uint64_t>(ranks)));
    for (int b = 0; b < kBlocks; ++b)
      of_expert.push_back(one ? rank : static_cast<int>(rng.Below(static_cast<uint64_t>(ranks))));
  }
  return owners;
}

std::vector<ExpertHomes> Shares(const Owners& owners) {
  std::vector<ExpertHomes> homes;
  for (const auto& of_expert : owners) {
    std::map<int, int> counts;
    for (int rank : of_expert) ++counts[rank];
    homes.emplace_back();
    for (const auto& [rank, count] : counts)
      homes.back().push_back({rank, static_cast<double>(count) / kBlocks});
  }
  return homes;
}

// A message of one block from a rank to another.
struct Message {
  int from, to;
  double bytes;
};

// The busiest link, one message after the other.
double Busiest(const std::vector<Message>& messages, const std::vector<int>& nodes, const HomeCosts& costs,
               int only = -1) {
  std::map<std::tuple<int, bool, bool>, double> links;  // rank, in, between nodes
  for (const Message& m : messages) {
    if (m.from == m.to) continue;
    const bool between = nodes[m.from] != nodes[m.to];
    links[{m.from, false, between}] += m.bytes;
    links[{m.to, true, between}] += m.bytes;
  }
  double most = 0;
  for (const auto& [link, bytes] : links) {
    const auto& [rank, in, between] = link;
    if (only >= 0 && rank != only) continue;
    const double slow = costs.slowdowns.empty() ? 1 : costs.slowdowns[rank];
    most = std::max(most, bytes * (between ? costs.nic * slow : costs.nvlink));
  }
  return most;
}

std::vector<Message> Gradients(const SlotTable& table, const Owners& owners, double bytes, int only = -1) {
  std::vector<Message> messages;
  for (size_t g = 0; g < table.size(); ++g) {
    for (int e : table[g]) {
      if (e == kNoExpert || (only >= 0 && e != only)) continue;
      for (int home : owners[e]) messages.push_back({static_cast<int>(g), home, bytes / kBlocks});
    }
  }
  return messages;
}

HomeCosts RandomCosts(Rng& rng, int ranks) {
  HomeCosts costs{rng.Uniform(), 0.2 * rng.Uniform(), 1 + 5 * rng.Uniform(), 20 * rng.Uniform(), kBlocks};
  for (int g = 0; g < ranks && rng.Chance(0.9); ++g) costs.slowdowns.push_back(1 + rng.Uniform());
  if (static_cast<int>(costs.slowdowns.size()) < ranks) costs.slowdowns.clear();
  return costs;
}

TEST(HomeTraffic, SyncEqualsALedgerOfBlocks) {
  const uint64_t seed = 501;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  for (int i = 0; i < 2000; ++i) {
    const LayerTask task = testing::RandomTask(rng, 8, 6, 3);
    const SlotTable table = testing::RandomTable(rng, task);
    const Owners owners = RandomOwners(rng, task.experts(), task.ranks());
    const HomeCosts costs = RandomCosts(rng, task.ranks());
    const std::vector<double> sync = SyncOfRanks(table, Shares(owners), task.node_of_rank, costs);
    const auto messages = Gradients(table, owners, costs.weight_bytes);
    for (int g = 0; g < task.ranks(); ++g) {
      ASSERT_NEAR(sync[static_cast<size_t>(g)], 2 * Busiest(messages, task.node_of_rank, costs, g), 1e-9)
          << "case " << i << ", rank " << g;
    }
  }
}

// Moves go from where there is too much to where there is too little; no rank sends and receives.
TEST(HomeTraffic, MovesCarryEachSurplusOnce) {
  const uint64_t seed = 502;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  for (int i = 0; i < 2000; ++i) {
    const int ranks = static_cast<int>(rng.Between(1, 6));
    // Every rank is a node of its own, so that who sends to whom does not matter.
    std::vector<int> nodes;
    for (int g = 0; g < ranks; ++g) nodes.push_back(g);
    const Owners from = RandomOwners(rng, 4, ranks), to = RandomOwners(rng, 4, ranks);
    const HomeCosts costs{0.5, 0.1, 1, 12, kBlocks};
    std::vector<double> in(static_cast<size_t>(ranks), 0), out(in);
    for (size_t e = 0; e < from.size(); ++e) {
      for (int g = 0; g < ranks; ++g) {
        const auto had = std::count(from[e].begin(), from[e].end(), g);
        const auto gets = std::count(to[e].begin(), to[e].end(), g);
        (gets > had ? in : out)[static_cast<size_t>(g)] +=
            std::abs(static_cast<double>(gets - had)) * 12 / kBlocks;
      }
    }
    const double most =
        std::max(*std::max_element(in.begin(), in.end()), *std::max_element(out.begin(), out.end()));
    ASSERT_NEAR(MoveCost(Shares(from), Shares(to), nodes, costs), 0.5 * most, 1e-9) << "case " << i;
  }
}

// For each expert alone: staying and following are both counted block by block, and the cheaper one over the
// periods is what is taken.
TEST(HomeTraffic, HomesFollowWhenThatIsCheaper) {
  const uint64_t seed = 503;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  int followed = 0, stayed = 0;
  for (int i = 0; i < 2000; ++i) {
    const LayerTask task = testing::RandomTask(rng, 6, 6, 3);
    const SlotTable table = testing::RandomTable(rng, task);
    const Owners owners = RandomOwners(rng, task.experts(), task.ranks());
    HomePricing pricing{Shares(owners), RandomCosts(rng, task.ranks())};
    const double periods = 1 + 10 * rng.Uniform();
    const auto homes = FollowedHomes(table, pricing, task.node_of_rank, periods);
    for (int e = 0; e < task.experts(); ++e) {
      // Blocks in order on the hosts in order, as evenly as whole blocks lie.
      std::vector<int> hosts;
      for (int g = 0; g < task.ranks(); ++g) {
        if (Holds(table[static_cast<size_t>(g)], e)) hosts.push_back(g);
      }
      Owners settled = owners;
      for (int b = 0, h = 0; b < kBlocks; ++b) {
        while ((h + 1) * kBlocks / static_cast<int>(hosts.size()) <= b) ++h;
        settled[static_cast<size_t>(e)][static_cast<size_t>(b)] = hosts[static_cast<size_t>(h)];
      }
      const auto even = Shares(settled)[static_cast<size_t>(e)];
      const double stay = 2 * Busiest(Gradients(table, owners, pricing.costs.weight_bytes, e),
                                      task.node_of_rank, pricing.costs);
      const double go = 2 * Busiest(Gradients(table, settled, pricing.costs.weight_bytes, e),
                                    task.node_of_rank, pricing.costs);
      auto only = pricing.homes;
      only[static_cast<size_t>(e)] = even;
      const double move = MoveCost(pricing.homes, only, task.node_of_rank, pricing.costs);
      const bool follows =
          homes[static_cast<size_t>(e)] == even && even != pricing.homes[static_cast<size_t>(e)];
      (follows ? followed : stayed) += 1;
      if (follows) {
        ASSERT_LE(periods * go + move, periods * stay + 1e-9) << "case " << i << ", expert " << e;
      } else {
        ASSERT_EQ(homes[static_cast<size_t>(e)], pricing.homes[static_cast<size_t>(e)]);
        ASSERT_GE(periods * go + move, periods * stay - 1e-9) << "case " << i << ", expert " << e;
      }
    }
  }
  EXPECT_GT(followed, 500);
  EXPECT_GT(stayed, 500);
}

// Homes on the slots' ranks: 2 W (r - 1) / r a rank; a slot away: one gradient and one set of weights.
TEST(HomeTraffic, ByHand) {
  const HomeCosts costs{1, 0.1, 10, 60};
  const std::vector<int> nodes = {0, 0, 1, 1};
  const SlotTable spread = {{0}, {}, {0}, {0}};
  const ExpertHomes on_slots = EvenHomes({Rank(0), Rank(2), Rank(3)}, 0);
  // Rank 0 is alone on its node: all it exchanges crosses the NIC.
  EXPECT_NEAR(SyncOfRanks(spread, {on_slots}, nodes, costs)[0], 2 * 10 * 2.0 / 3, 1e-9);
  EXPECT_NEAR(SyncOfRanks(spread, {on_slots}, nodes, costs)[2], 2 * 10 * 1.0 / 3, 1e-9);
  EXPECT_NEAR(SyncOfRanks({{}, {0}, {}, {}}, {{{0, 1}}}, nodes, costs)[1], 2 * 10 * 0.1, 1e-9)
      << "one slot away inside the node";
  EXPECT_NEAR(SyncOfRanks({{}, {}, {}, {0}}, {{{0, 1}}}, nodes, costs)[0], 2 * 10, 1e-9);
  EXPECT_EQ(SyncOfRanks({{0}, {}, {}, {}}, {{{0, 1}}}, nodes, costs), (std::vector<double>{0, 0, 0, 0}));
}

// J with homes is the load by subsets, the ledger's sync after homes have followed, and their moves.
TEST(HomeTraffic, ObjectiveEqualsBruteForce) {
  const uint64_t seed = 504;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  for (int i = 0; i < 1000; ++i) {
    LayerTask task = testing::RandomTask(rng, 6, 5, 2);
    for (int64_t& load : task.load) load *= 1000;
    const SlotTable table = testing::RandomTable(rng, task), current = testing::RandomTable(rng, task);
    const Owners owners = RandomOwners(rng, task.experts(), task.ranks());
    const HomePricing pricing{Shares(owners), RandomCosts(rng, task.ranks())};
    LayerCosts costs;
    costs.load = 1e-6 * rng.Uniform();
    costs.homes = &pricing;
    costs.life = 5;
    // Homes afterwards, as blocks.
    const auto homes = FollowedHomes(table, pricing, task.node_of_rank, costs.life);
    Owners after;
    for (const ExpertHomes& of_expert : homes) {
      after.emplace_back();
      for (const HomeShare& home : of_expert)
        after.back().insert(after.back().end(), static_cast<size_t>(std::lround(home.part * kBlocks)),
                            home.rank);
      ASSERT_EQ(after.back().size(), static_cast<size_t>(kBlocks));
    }
    const double sync =
        2 * Busiest(Gradients(table, after, pricing.costs.weight_bytes), task.node_of_rank, pricing.costs);
    const CostParts parts = WeighParts(task, {}, 0, current, table, costs);
    const double load = costs.load * 65536 * testing::BoundBySubsets(task, table);
    ASSERT_NEAR(parts.load, load, 1e-6 * load + 10 * costs.load) << "case " << i;
    ASSERT_NEAR(parts.sync, sync, 1e-9) << "case " << i;
    ASSERT_NEAR(parts.moves, MoveCost(pricing.homes, homes, task.node_of_rank, pricing.costs) / 5, 1e-9);
    ASSERT_EQ(parts.total(), parts.load + parts.sync + parts.port + parts.moves);
  }
}

TEST(HomeTraffic, NoSingleDropOfACopyLowersJ) {
  const uint64_t seed = 505;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  int dropped = 0;
  for (int i = 0; i < 300; ++i) {
    const LayerTask task = testing::RandomTask(rng, 8, 5, 3);
    if (task.total_load() == 0) continue;
    const SlotTable table = testing::RandomTable(rng, task);
    HomePricing pricing{{}, {0.02 * rng.Uniform(), 0.002, 1, 6, kBlocks}};
    for (const auto& hosts : HostsOf(table, task.experts()))
      pricing.homes.push_back(EvenHomes(hosts, kBlocks));
    LayerCosts costs = RelativeCosts(task, 0, 0);
    costs.homes = &pricing;
    const auto cost = [&](const SlotTable& any) {
      return WeighParts(task, {}, 0, table, any, costs).total();
    };
    int64_t evaluations = 10'000;
    const SlotTable less = DropCostly(task, table, costs, cost, evaluations);
    ASSERT_TRUE(CheckTable(task, less).ok());
    EXPECT_LE(cost(less), cost(table) * (1 + 1e-9));
    dropped += CountWrites(less, table);
  }
  EXPECT_GT(dropped, 100);
}

}  // namespace
}  // namespace ballast
