// Whose tokens leave their node where rows travel on rails: evenly by source.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <numeric>
#include <string>

#include "plan/split.h"
#include "tests/plan/fixtures.h"
#include "tests/plan/simplex.h"

namespace ballast {
namespace {

using Table = std::vector<std::vector<int64_t>>;  // [source][expert]

// What a split does with each source's tokens.
struct Kept {
  Table own, away;  // computed by itself, out of its node
};

Kept KeptOf(const Split& split, const CountMatrix& counts, const Topology& topology) {
  const Table zeros(counts.size(), std::vector<int64_t>(counts[0].size(), 0));
  Kept kept{zeros, zeros};
  for (const Share& share : split.shares) {
    const size_t s = share.source.index(), e = share.expert.index();
    if (share.host == share.source) kept.own[s][e] += share.count;
    if (topology.node(share.host) != topology.node(share.source)) kept.away[s][e] += share.count;
  }
  return kept;
}

// Sources differ in what they want.
CountMatrix UnevenCounts(Rng& rng, int ranks, int experts) {
  CountMatrix counts(static_cast<size_t>(ranks));
  for (auto& row : counts) {
    for (int e = 0; e < experts; ++e) row.push_back(static_cast<int64_t>(200 * std::exp(0.8 * rng.Normal())));
  }
  return counts;
}

TEST(EvenOut, ByHand) {
  // Node a is ranks 0 to 2, b is 3 and 4. Expert 0 has a copy in each node, on ranks 2 and 3; expert 1 one on
  // rank 4 alone, so that rank 0 must send it 6. Of the 48 + 32 that node a has of expert 0, rank 2
  // computes 60.
  LayerPlan layer;
  layer.slots = {{Slot()}, {Slot()}, {ExpertId(0)}, {ExpertId(0)}, {ExpertId(1)}};
  layer.split.kind = SplitKind::kFractions;
  layer.split.fractions = {{0}, {0}, {49152}, {16384}, {65536}};
  const CountMatrix counts = {{48, 6}, {32, 0}, {0, 0}, {0, 0}, {0, 0}};
  const Topology topology = Topology::FromNodeNames({"a", "a", "a", "b", "b"});
  const std::vector<uint32_t> speeds(5, 65536);
  const auto straight = ComputeSplit(counts, layer, 2, speeds, topology);
  ASSERT_TRUE(straight.ok()) << straight.status();
  EXPECT_EQ(KeptOf(*straight, counts, topology).away, (Table{{12, 6}, {8, 0}, {0, 0}, {0, 0}, {0, 0}}));
  layer.schedule.all_to_all = kRails;
  const auto even = ComputeSplit(counts, layer, 2, speeds, topology);
  ASSERT_TRUE(even.ok()) << even.status();
  EXPECT_EQ(KeptOf(*even, counts, topology).away, (Table{{7, 6}, {13, 0}, {0, 0}, {0, 0}, {0, 0}}));
  EXPECT_EQ(even->rank_tokens, straight->rank_tokens);
}

// Expert by expert, nobody who kept tokens that others of its node sent away instead had sent less.
TEST(EvenOut, NobodySendsWhileAnotherHasSentLess) {
  const uint64_t seed = 141;
  Rng rng(seed);
  int leaving = 0;
  for (int round = 0; round < 2000; ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed) + " round " + std::to_string(round));
    const int ranks = static_cast<int>(rng.Between(2, 10)), slots = static_cast<int>(rng.Between(1, 4));
    const int experts = static_cast<int>(rng.Between(1, ranks * slots));
    LayerPlan layer = testing::RandomLayer(rng, ranks, slots, experts);
    layer.schedule.all_to_all = kRails;
    const CountMatrix counts = testing::RandomCounts(rng, ranks, experts, rng.Chance(0.3) ? 6 : 200'000'000);
    const Topology topology = testing::RandomTopology(rng, ranks);
    const auto split = ComputeSplit(counts, layer, experts, testing::RandomSpeeds(rng, ranks), topology);
    ASSERT_TRUE(split.ok()) << split.status();
    const Kept kept = KeptOf(*split, counts, topology);
    const auto hosted = [&](int rank, int e) {
      for (int r = 0; r < ranks; ++r) {
        const bool near = topology.node(Rank(r)) == topology.node(Rank(rank));
        if (near && layer.SlotIndex(Rank(r), ExpertId(e))) return true;
      }
      return false;
    };
    std::vector<int64_t> sent(static_cast<size_t>(ranks), 0);
    for (int s = 0; s < ranks; ++s) {
      for (int e = 0; e < experts; ++e) {
        if (hosted(s, e)) continue;
        ASSERT_EQ(kept.away[s][e], counts[s][e]);
        sent[s] += counts[s][e];
      }
    }
    for (int e = 0; e < experts; ++e) {
      for (int s = 0; s < ranks; ++s) sent[s] += hosted(s, e) ? kept.away[s][e] : 0;
      for (int a = 0; a < ranks; ++a) {
        for (int b = 0; b < ranks; ++b) {
          if (topology.node(Rank(a)) != topology.node(Rank(b)) || !hosted(a, e)) continue;
          const bool could = counts[b][e] - kept.own[b][e] - kept.away[b][e] > 0;
          if (kept.away[a][e] == 0 || !could) continue;
          ++leaving;
          ASSERT_LE(sent[a], sent[b] + 1) << "expert " << e << " ranks " << a << ", " << b;
        }
      }
    }
  }
  EXPECT_GT(leaving, 500);
}

// Given what each node's hosts compute and what each source's own host takes, the least that the busiest
// source of a node can send: a linear program of what leaves, (source, expert), under a cap on each source,
// by bisection.
double LeastBusiest(const Kept& kept, const CountMatrix& counts, const std::vector<size_t>& ranks, double low,
                    double high) {
  const size_t experts = counts[0].size(), variables = ranks.size() * experts;
  std::vector<std::vector<double>> a;
  std::vector<double> b;
  double all = 0;
  for (size_t e = 0; e < experts; ++e) {  // an expert's tokens that leave the node
    a.emplace_back(variables, 0);
    b.push_back(0);
    for (size_t i = 0; i < ranks.size(); ++i) {
      a.back()[i * experts + e] = 1;
      b.back() += static_cast<double>(kept.away[ranks[i]][e]);
    }
    all += b.back();
  }
  for (size_t i = 0; i < variables; ++i) {  // what a source has that could leave
    const size_t s = ranks[i / experts], e = i % experts;
    a.emplace_back(variables, 0);
    a.back()[i] = 1;
    b.push_back(static_cast<double>(counts[s][e] - kept.own[s][e]));
  }
  for (size_t i = 0; i < ranks.size(); ++i) {
    a.emplace_back(variables, 0);
    for (size_t e = 0; e < experts; ++e) a.back()[i * experts + e] = 1;
    b.push_back(0);
  }
  for (int i = 0; i < 8; ++i) {
    const double cap = (low + high) / 2;
    std::fill(b.end() - static_cast<std::ptrdiff_t>(ranks.size()), b.end(), cap);
    const double most = testing::SolveLinearProgram(a, b, std::vector<double>(variables, 1));
    (most >= all - 1e-3 ? high : low) = cap;
  }
  return low;
}

TEST(EvenOut, TheBusiestSourceIsNearTheLeastPossible) {
  Rng rng(142);
  double even_sum = 0, straight_sum = 0, least_sum = 0;
  for (int round = 0; round < 12; ++round) {
    const int ranks = 8, experts = 6;
    LayerPlan layer;  // three experts of six on each rank, so that most have copies in both nodes
    for (int r = 0; r < ranks; ++r) {
      const auto first = static_cast<int32_t>(rng.Below(experts));
      layer.slots.push_back(
          {ExpertId(first), ExpertId((first + 1) % experts), ExpertId((first + 3) % experts)});
    }
    layer.split.kind = SplitKind::kFractions;
    for (int r = 0; r < ranks; ++r) {
      layer.split.fractions.emplace_back();
      for (int i = 0; i < 3; ++i)
        layer.split.fractions.back().push_back(static_cast<uint32_t>(rng.Between(1, 9)));
    }
    const CountMatrix counts = UnevenCounts(rng, ranks, experts);
    const Topology topology = Topology::FromNodeNames({"a", "a", "a", "a", "b", "b", "b", "b"});
    const std::vector<uint32_t> speeds(ranks, 65536);
    const Kept straight =
        KeptOf(ComputeSplit(counts, layer, experts, speeds, topology).value(), counts, topology);
    layer.schedule.all_to_all = kRails;
    const Kept even =
        KeptOf(ComputeSplit(counts, layer, experts, speeds, topology).value(), counts, topology);
    for (size_t first : {0, 4}) {
      std::vector<size_t> node(4);
      std::iota(node.begin(), node.end(), first);
      double even_most = 0, straight_most = 0, sum = 0;
      for (size_t s : node) {
        const double sent =
            static_cast<double>(std::accumulate(even.away[s].begin(), even.away[s].end(), int64_t{0}));
        even_most = std::max(even_most, sent);
        sum += sent;
        straight_most =
            std::max(straight_most, static_cast<double>(std::accumulate(straight.away[s].begin(),
                                                                        straight.away[s].end(), int64_t{0})));
      }
      const double least = LeastBusiest(even, counts, node, sum / 4, even_most);
      EXPECT_LE(least, even_most + 1);
      even_sum += even_most;
      straight_sum += straight_most;
      least_sum += least;
    }
  }
  std::cout << "busiest source over the least possible: " << even_sum / least_sum << ", in proportion "
            << straight_sum / least_sum << "\n";
  EXPECT_LE(even_sum, 1.06 * least_sum);
  EXPECT_GE(straight_sum, 1.1 * least_sum) << "nothing to even out here";
}

}  // namespace
}  // namespace ballast
