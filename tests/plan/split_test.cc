#include "plan/split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <set>
#include <tuple>

#include "tests/plan/fixtures.h"
#include "tests/plan/simplex.h"

namespace ballast {
namespace {

using ::testing::HasSubstr;

struct Case {
  int ranks = 0;
  int experts = 0;
  LayerPlan layer;
  CountMatrix counts;
  std::vector<uint32_t> speeds;
  Topology topology;

  absl::StatusOr<Split> Run() const { return ComputeSplit(counts, layer, experts, speeds, topology); }
};

Case RandomCase(Rng& rng, int64_t most = 300) {
  Case c;
  c.ranks = static_cast<int>(rng.Between(1, 9));
  const int slots = static_cast<int>(rng.Between(1, 5));
  c.experts = static_cast<int>(rng.Between(1, c.ranks * slots));
  c.layer = testing::RandomLayer(rng, c.ranks, slots, c.experts);
  c.counts = testing::RandomCounts(rng, c.ranks, c.experts, most);
  c.speeds = testing::RandomSpeeds(rng, c.ranks);
  c.topology = testing::RandomTopology(rng, c.ranks);
  if (rng.Chance(0.3)) c.layer.schedule.all_to_all = kRails;
  return c;
}

std::vector<Share> SharesOf(const Split& split, int source, int expert) {
  std::vector<Share> shares;
  for (const Share& share : split.shares) {
    if (share.source == Rank(source) && share.expert == ExpertId(expert)) shares.push_back(share);
  }
  return shares;
}

// What holds for every kind of split.
void ExpectWellFormed(const Case& c, const Split& split) {
  std::vector<int64_t> rank_tokens(static_cast<size_t>(c.ranks), 0);
  CountMatrix sums(c.counts.size(), std::vector<int64_t>(static_cast<size_t>(c.experts), 0));
  std::tuple<Rank, ExpertId, Rank> last(Rank(-1), ExpertId(-1), Rank(-1));
  for (const Share& share : split.shares) {
    EXPECT_GT(share.count, 0);
    const std::tuple<Rank, ExpertId, Rank> place(share.source, share.expert, share.host);
    EXPECT_LT(last, place) << "sources, experts and hosts must rise";
    last = place;
    ASSERT_LT(share.slot, static_cast<int>(c.layer.slots[share.host.index()].size()));
    EXPECT_EQ(c.layer.slots[share.host.index()][share.slot], share.expert) << "not a slot of the expert";
    sums[share.source.index()][share.expert.index()] += share.count;
    rank_tokens[share.host.index()] += share.count;
  }
  EXPECT_EQ(sums, c.counts);
  EXPECT_EQ(split.rank_tokens, rank_tokens);
}

// An expert's tokens cross ranks only when its host there is full, and cross nodes only when the node's hosts
// are.
void ExpectLocalFirst(const Case& c, const Split& split) {
  for (int e = 0; e < c.experts; ++e) {
    std::map<int, int64_t> away, foreign;  // [rank] tokens sent elsewhere, tokens of others computed
    std::map<int, int64_t> node_away, node_foreign;  // [node] the same between nodes
    std::set<int> hosts, host_nodes;
    for (int r = 0; r < c.ranks; ++r) {
      if (!c.layer.SlotIndex(Rank(r), ExpertId(e))) continue;
      hosts.insert(r);
      host_nodes.insert(c.topology.node(Rank(r)).value());
    }
    for (const Share& share : split.shares) {
      if (share.expert != ExpertId(e)) continue;
      const int from = c.topology.node(share.source).value(), to = c.topology.node(share.host).value();
      if (share.host != share.source) {
        away[share.source.value()] += share.count;
        foreign[share.host.value()] += share.count;
      }
      if (from != to) {
        node_away[from] += share.count;
        node_foreign[to] += share.count;
      }
    }
    for (int h : hosts) EXPECT_TRUE(away[h] == 0 || foreign[h] == 0) << "rank " << h << " expert " << e;
    for (int n : host_nodes)
      EXPECT_TRUE(node_away[n] == 0 || node_foreign[n] == 0) << "node " << n << " expert " << e;
  }
}

TEST(Split, ExactSplitsAreWellFormedLocalAndOptimal) {
  const uint64_t seed = 81;
  Rng rng(seed);
  for (int round = 0; round < 4000; ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed) + " round " + std::to_string(round));
    const Case c = RandomCase(rng, rng.Chance(0.3) ? 5 : 3000);
    const auto split = c.Run();
    ASSERT_TRUE(split.ok()) << split.status();
    ExpectWellFormed(c, *split);
    ExpectLocalFirst(c, *split);
    // The optimum does not depend on where tokens come from: balance_test proves it for the totals.
    std::vector<int64_t> tokens(static_cast<size_t>(c.experts), 0);
    for (const auto& row : c.counts) {
      for (int e = 0; e < c.experts; ++e) tokens[e] += row[e];
    }
    const auto hosts = c.layer.Hosts(c.experts);
    const auto best = RankTokens(BalanceExactly(tokens, hosts, c.speeds), hosts, c.ranks);
    const auto busiest = [&](const std::vector<int64_t>& held) {
      long double most = 0;
      for (int r = 0; r < c.ranks; ++r)
        most = std::max(most, static_cast<long double>(held[r]) / c.speeds[r]);
      return most;
    };
    EXPECT_EQ(busiest(split->rank_tokens), busiest(best));
    if (::testing::Test::HasFailure()) return;
  }
}

// What the ranks make of their own rows and columns is, together, the whole.
TEST(Split, EachRankMakesItsOwnPartOfTheWhole) {
  const uint64_t seed = 84;
  Rng rng(seed);
  for (int round = 0; round < 3000; ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed) + " round " + std::to_string(round));
    Case c = RandomCase(rng, rng.Chance(0.3) ? 5 : 300'000'000);
    if (rng.Chance(0.2)) c.layer.split.kind = SplitKind::kEven;
    const auto whole = c.Run();
    ASSERT_TRUE(whole.ok()) << whole.status();
    const bool some = rng.Chance(0.3);  // the ranks of a node, say
    std::map<std::tuple<Rank, ExpertId, Rank>, int64_t> together;
    for (int self = 0; self < c.ranks; ++self) {
      std::vector<char> wanted(static_cast<size_t>(c.ranks), 0);
      for (char& one : wanted) one = some && rng.Chance(0.3);
      wanted[self] = 1;
      const auto own = ComputeSplit(c.counts, c.layer, c.experts, c.speeds, c.topology, wanted);
      ASSERT_TRUE(own.ok()) << own.status();
      std::vector<Share> expected;
      for (const Share& share : whole->shares) {
        if (wanted[share.source.index()] || wanted[share.host.index()]) expected.push_back(share);
      }
      ASSERT_EQ(own->shares, expected) << "rank " << self;
      ASSERT_EQ(own->hash, whole->hash);
      ASSERT_EQ(own->rank_tokens, whole->rank_tokens);
      for (const Share& share : own->shares)
        together.insert({{share.source, share.expert, share.host}, share.count});
    }
    EXPECT_EQ(together.size(), whole->shares.size());
  }
}

// The dual of the division: experts' prices y at most those z of their hosts' ranks. Its optimum is the least
// load per speed of the busiest rank that any division, also of parts of tokens, reaches.
double LeastLoadByLinearProgram(const Case& c, const std::vector<int64_t>& tokens) {
  std::vector<std::vector<double>> a;
  std::vector<double> b, prices;
  const size_t experts = static_cast<size_t>(c.experts), variables = experts + c.speeds.size();
  for (int64_t count : tokens) prices.push_back(static_cast<double>(count) / 1e6);
  prices.resize(variables, 0);
  const auto hosts = c.layer.Hosts(c.experts);
  for (size_t e = 0; e < experts; ++e) {
    for (Rank host : hosts[e]) {
      a.emplace_back(variables, 0);
      a.back()[e] = 1;
      a.back()[experts + host.index()] = -1;
      b.push_back(0);
    }
  }
  a.emplace_back(variables, 0);
  for (size_t g = 0; g < c.speeds.size(); ++g) a.back()[experts + g] = static_cast<double>(c.speeds[g]) / 1e5;
  b.push_back(1);
  return testing::SolveLinearProgram(a, b, prices) * 1e6 / 1e5;
}

TEST(Split, EqualsALinearProgramToOneInAMillion) {
  const uint64_t seed = 85;
  Rng rng(seed);
  for (int round = 0; round < 10'000; ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed) + " round " + std::to_string(round));
    Case c = RandomCase(rng, 300'000'000);  // a token is less than a millionth
    for (uint32_t& speed : c.speeds) speed = std::max(speed, uint32_t{20'000});
    const auto split = c.Run();
    ASSERT_TRUE(split.ok()) << split.status();
    std::vector<int64_t> tokens(static_cast<size_t>(c.experts), 0);
    int64_t total = 0, computed = 0;
    for (const auto& row : c.counts) {
      for (int e = 0; e < c.experts; ++e) tokens[e] += row[e];
    }
    for (int64_t count : tokens) total += count;
    double busiest = 0;
    for (int r = 0; r < c.ranks; ++r) {
      computed += split->rank_tokens[r];
      busiest = std::max(busiest, static_cast<double>(split->rank_tokens[r]) / c.speeds[r]);
    }
    ASSERT_EQ(computed, total);
    const double least = LeastLoadByLinearProgram(c, tokens);
    // Whole tokens: up to one more on the busiest rank.
    ASSERT_NEAR(busiest, least, 1e-6 * least + 1.0 / 20'000);
  }
}

TEST(Split, EvenAndFractionsFollowTheirTable) {
  const uint64_t seed = 82;
  Rng rng(seed);
  for (int round = 0; round < 2000; ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed) + " round " + std::to_string(round));
    Case c = RandomCase(rng);
    const auto hosts = c.layer.Hosts(c.experts);
    std::vector<std::vector<int64_t>> weights;
    if (rng.Chance(0.5)) {
      c.layer.split.kind = SplitKind::kEven;
      for (const auto& ranks : hosts) weights.emplace_back(ranks.size(), 1);
    } else {
      c.layer.split.kind = SplitKind::kFractions;
      for (const auto& slots : c.layer.slots) c.layer.split.fractions.emplace_back(slots.size(), 0);
      for (int e = 0; e < c.experts; ++e) {
        weights.emplace_back();
        for (Rank host : hosts[e]) {
          const uint32_t part = 1 + static_cast<uint32_t>(rng.Below(1000));
          weights[e].push_back(part);
          c.layer.split.fractions[host.index()][*c.layer.SlotIndex(host, ExpertId(e))] = part;
        }
      }
    }
    const auto split = c.Run();
    ASSERT_TRUE(split.ok()) << split.status();
    ExpectWellFormed(c, *split);
    ExpectLocalFirst(c, *split);
    for (int e = 0; e < c.experts; ++e) {
      std::vector<double> received(static_cast<size_t>(c.ranks), 0);
      double total = 0, weight = 0;
      for (const Share& share : split->shares) {
        if (share.expert == ExpertId(e)) received[share.host.index()] += static_cast<double>(share.count);
      }
      for (int s = 0; s < c.ranks; ++s) total += static_cast<double>(c.counts[s][e]);
      for (int64_t w : weights[e]) weight += static_cast<double>(w);
      for (size_t i = 0; i < hosts[e].size(); ++i) {
        EXPECT_NEAR(received[hosts[e][i].index()], total * static_cast<double>(weights[e][i]) / weight, 1.0);
      }
    }
    if (::testing::Test::HasFailure()) return;
  }
}

TEST(Split, SlotIndicesChangeNothingButThemselves) {
  const uint64_t seed = 83;
  Rng rng(seed);
  for (int round = 0; round < 500; ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed) + " round " + std::to_string(round));
    const Case a = RandomCase(rng);
    Case b = a;
    for (auto& slots : b.layer.slots) std::reverse(slots.begin(), slots.end());
    auto x = a.Run(), again = a.Run(), y = b.Run();
    ASSERT_TRUE(x.ok() && again.ok() && y.ok());
    EXPECT_EQ(x->hash, again->hash);
    EXPECT_EQ(x->rank_tokens, y->rank_tokens);
    for (Split* split : {&*x, &*y}) {
      for (Share& share : split->shares) share.slot = 0;
    }
    EXPECT_EQ(x->shares, y->shares);
  }
}

Case TwoExpertsEverywhere() {
  Case c;
  c.ranks = 4;
  c.experts = 2;
  c.layer.slots.assign(4, {ExpertId(0), ExpertId(1)});
  c.speeds.assign(4, 65536);
  c.topology = Topology::FromNodeNames({"a", "a", "b", "b"});
  return c;
}

TEST(Split, TokensStayWhereTheyAreWhenThatCostsNothing) {
  Case c = TwoExpertsEverywhere();
  c.counts = {{10, 20}, {30, 0}, {15, 15}, {1, 29}};
  const auto split = c.Run();
  ASSERT_TRUE(split.ok());
  EXPECT_EQ(split->shares.size(), 7u);
  for (const Share& share : split->shares) EXPECT_EQ(share.host, share.source) << share.expert.value();
}

TEST(Split, WhatIsTooMuchForARankGoesToItsNodeFirst) {
  Case c = TwoExpertsEverywhere();
  c.counts = {{40, 0}, {20, 0}, {30, 0}, {30, 0}};  // 30 each
  const auto split = c.Run();
  ASSERT_TRUE(split.ok());
  const std::vector<Share> shares = SharesOf(*split, 0, 0);
  ASSERT_EQ(shares.size(), 2u);
  EXPECT_EQ(shares[0].count, 30);
  EXPECT_EQ(shares[1].host, Rank(1));
  EXPECT_EQ(shares[1].count, 10);
}

TEST(Split, TheRestGoesInProportion) {
  // One expert on ranks 0 and 1 of node a; ranks 2 and 3 of node b have no slot and send all they have.
  Case c;
  c.ranks = 4;
  c.experts = 1;
  c.layer.slots = {{ExpertId(0)}, {ExpertId(0)}, {Slot()}, {Slot()}};
  c.speeds = {1, 3, 1, 1};
  c.topology = Topology::FromNodeNames({"a", "a", "b", "b"});
  c.counts = {{0}, {0}, {40}, {80}};
  const auto split = c.Run();
  ASSERT_TRUE(split.ok());
  EXPECT_EQ(split->rank_tokens, (std::vector<int64_t>{30, 90, 0, 0}));
  EXPECT_EQ(SharesOf(*split, 2, 0)[0].count, 10);
  EXPECT_EQ(SharesOf(*split, 2, 0)[1].count, 30);
  EXPECT_EQ(SharesOf(*split, 3, 0)[0].count, 20);
  EXPECT_EQ(SharesOf(*split, 3, 0)[1].count, 60);
}

TEST(Split, HashSeesEveryShare) {
  Case c = TwoExpertsEverywhere();
  c.counts = {{10, 20}, {30, 0}, {15, 15}, {1, 29}};
  std::set<uint64_t> hashes = {c.Run()->hash};
  Case moved = c;
  moved.counts[0] = {11, 19};
  EXPECT_TRUE(hashes.insert(moved.Run()->hash).second);
  Case slots = c;
  std::swap(slots.layer.slots[2][0], slots.layer.slots[2][1]);
  EXPECT_TRUE(hashes.insert(slots.Run()->hash).second);
  Case kind = c;
  kind.layer.split.kind = SplitKind::kEven;
  EXPECT_TRUE(hashes.insert(kind.Run()->hash).second);
  Case rails = c;
  rails.layer.schedule.all_to_all = kRails;
  EXPECT_TRUE(hashes.insert(rails.Run()->hash).second);
}

// Workers of different builds and machines compare this hash in every step.
TEST(Split, GoldenHash) {
  Case c = TwoExpertsEverywhere();
  c.counts = {{10, 20}, {31, 0}, {15, 15}, {1, 29}};
  EXPECT_EQ(c.Run()->hash, 4288232740691280969ull);
}

TEST(Split, RefusesBadInput) {
  Case good = TwoExpertsEverywhere();
  good.counts = {{10, 20}, {30, 0}, {15, 15}, {1, 29}};
  ASSERT_TRUE(good.Run().ok());
  const auto refused = [&](auto change, const std::string& text) {
    Case c = good;
    change(c);
    const auto split = c.Run();
    EXPECT_EQ(split.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(split.status().message()), HasSubstr(text));
  };
  refused([](Case& c) { c.counts[3][1] = -1; }, "counts[3][1]: found -1");
  refused([](Case& c) { c.counts[0][0] = kTokensMax; }, "at most 281474976710656 in all");
  refused([](Case& c) { c.counts[0][0] = std::numeric_limits<int64_t>::max(); },
          "counts[0][0]: found 9223372036854775807");
  refused([](Case& c) { c.counts.pop_back(); }, "counts of 3");
  refused([](Case& c) { c.counts[1].pop_back(); }, "counts[1]: found 1 experts, allowed is 2");
  refused([](Case& c) { c.layer.slots.pop_back(); }, "slots of 3");
  refused([](Case& c) { c.topology = Topology::OneNode(5); }, "topology of 5");
  refused([](Case& c) { c.speeds[2] = 0; }, "speeds[2]: found 0");
  refused([](Case& c) { c.speeds.clear(); }, "speeds: found 0 ranks");
  refused([](Case& c) { c.layer.slots[1][0] = ExpertId(2); }, "slots[1][0]: found expert 2, allowed 0..1");
  refused([](Case& c) { c.layer.slots[1][0] = ExpertId(-1); }, "slots[1][0]: found expert -1");
  refused([](Case& c) { c.layer.slots.assign(4, {ExpertId(0)}); }, "expert 1 has 64 tokens and no slot");
  refused([](Case& c) { c.layer.split.kind = static_cast<SplitKind>(9); }, "split kind: found 9");
  refused([](Case& c) { c.layer.split.kind = SplitKind::kFractions; }, "fractions[0][0]: missing");
  refused(
      [](Case& c) {
        c.layer.split.kind = SplitKind::kFractions;
        c.layer.split.fractions.assign(4, {0, 1});
      },
      "fractions of expert 0: all are 0");
}

}  // namespace
}  // namespace ballast
