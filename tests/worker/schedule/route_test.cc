#include <gtest/gtest.h>

#include <map>
#include <string>

#include "tests/worker/schedule/random_route.h"
#include "worker/schedule/two_level.h"

namespace ballast {
namespace {

TEST(Route, SmallCaseByHand) {
  // Rank 0 holds experts 1 and 0 (in this order), rank 1 holds expert 0 and a hole.
  LayerPlan layer;
  layer.slots = {{ExpertId(1), ExpertId(0)}, {Slot(), ExpertId(0)}};
  Split split;
  split.hash = 99;
  const ExpertId a(0), b(1);
  split.shares = {{Rank(0), a, Rank(0), 1, 2},
                  {Rank(0), a, Rank(1), 1, 3},
                  {Rank(0), b, Rank(0), 0, 4},
                  {Rank(1), a, Rank(1), 1, 5},
                  {Rank(1), b, Rank(0), 0, 6}};
  Route route = MakeRoute(split, layer);
  EXPECT_EQ(route.hash, 99u);
  EXPECT_EQ(route.source_rows, (std::vector<int64_t>{9, 11}));
  EXPECT_EQ(route.host_rows, (std::vector<int64_t>{12, 8}));
  EXPECT_EQ(route.slot_rows, (std::vector<std::vector<int64_t>>{{10, 2}, {0, 8}}));
  ASSERT_EQ(route.segments.size(), 5u);
  std::vector<int64_t> source_offsets, host_offsets;
  for (const RouteSegment& s : route.segments) {
    source_offsets.push_back(s.source_offset);
    host_offsets.push_back(s.host_offset);
  }
  EXPECT_EQ(source_offsets, (std::vector<int64_t>{0, 2, 5, 0, 5}));
  EXPECT_EQ(host_offsets, (std::vector<int64_t>{10, 0, 0, 3, 4}));
}

TEST(Route, EveryRowHasOnePlaceAndCanonicalOrder) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    int ranks = static_cast<int>(rng.Between(1, 6));
    int experts = static_cast<int>(rng.Between(1, 9));
    RandomRoute random = MakeRandomRoute(rng, ranks, experts);
    std::vector<std::vector<int>> source_hits(ranks), host_hits(ranks);
    for (int r = 0; r < ranks; ++r) {
      source_hits[r].assign(random.route.source_rows[r], 0);
      host_hits[r].assign(random.route.host_rows[r], 0);
    }
    std::map<std::pair<int, int>, std::pair<int64_t, int>> last;  // (host, slot) -> (offset, source)
    for (const RouteSegment& s : random.route.segments) {
      EXPECT_EQ(random.layer.slots[s.host.index()][s.slot], Slot(s.expert));
      for (int64_t i = 0; i < s.rows; ++i) {
        ++source_hits[s.source.index()][s.source_offset + i];
        ++host_hits[s.host.index()][s.host_offset + i];
      }
      auto [it, first] = last.try_emplace({s.host.value(), s.slot}, s.host_offset, s.source.value());
      if (!first) {
        EXPECT_GT(s.host_offset, it->second.first) << "inside a slot, rows come by rising source";
        EXPECT_GT(s.source.value(), it->second.second);
        it->second = {s.host_offset, s.source.value()};
      }
    }
    for (int r = 0; r < ranks; ++r) {
      for (int hits : source_hits[r]) EXPECT_EQ(hits, 1);
      for (int hits : host_hits[r]) EXPECT_EQ(hits, 1);
    }
  }
}

// The route that is made without a list of shares, in memory that other splits have used, is that of the
// list.
TEST(Route, InOneGoIsTheRouteOfTheSplit) {
  SplitWorkspace work;
  Split kept;
  Route route;
  int own_part = 0, zero_counts = 0;
  for (uint64_t seed = 1; seed <= 1000; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    const int ranks = static_cast<int>(rng.Between(1, 12));
    const int experts = static_cast<int>(rng.Between(1, 20));
    const RandomRoute random = MakeRandomRoute(rng, ranks, experts);
    std::vector<std::string> nodes;
    for (int r = 0; r < ranks; ++r) nodes.push_back(std::to_string(rng.Below(4)));
    const Topology topology = Topology::FromNodeNames(nodes);
    LayerPlan layer = random.layer;
    if (rng.Chance(0.2)) layer.split.kind = SplitKind::kEven;
    CountMatrix counts(static_cast<size_t>(ranks), std::vector<int64_t>(static_cast<size_t>(experts), 0));
    for (std::vector<int64_t>& row : counts) {
      for (int64_t& count : row) {
        count = rng.Chance(0.3) ? 0 : rng.Between(1, rng.Chance(0.5) ? 9 : 100'000);
        zero_counts += count == 0;
      }
    }
    std::vector<uint32_t> speeds;
    for (int r = 0; r < ranks; ++r)
      speeds.push_back(rng.Chance(0.5) ? 1 << 16 : static_cast<uint32_t>(rng.Between(1, 1 << 17)));
    std::vector<char> wanted;
    if (rng.Chance(0.8)) {
      ++own_part;
      for (int r = 0; r < ranks; ++r) wanted.push_back(rng.Chance(0.25));
    }
    const auto split = ComputeSplit(counts, layer, experts, speeds, topology, wanted);
    ASSERT_TRUE(split.ok()) << split.status();
    const absl::Status made =
        ComputeRoute(counts, layer, experts, speeds, topology, wanted, work, kept, route);
    ASSERT_TRUE(made.ok()) << made;
    ASSERT_EQ(route, MakeRoute(*split, layer));
    EXPECT_EQ(kept.rank_tokens, split->rank_tokens);
    EXPECT_EQ(kept.hash, split->hash);
  }
  EXPECT_GT(own_part, 500);
  EXPECT_GT(zero_counts, 1000);
  LayerPlan both;
  both.slots = {{ExpertId(0), ExpertId(1)}};
  const absl::Status refused =
      ComputeRoute({{1, -1}}, both, 2, {1}, Topology::OneNode(1), {}, work, kept, route);
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument) << refused;
}

TEST(Route, WhatIsNotConservedIsNamed) {
  LayerPlan layer;
  layer.slots = {{ExpertId(0), Slot()}, {Slot(), ExpertId(1)}};
  const CountMatrix counts = {{3, 1}, {0, 2}};
  const std::vector<char> all = {1, 1};
  const std::vector<int64_t> tokens = ExpertTokens(counts);
  ASSERT_EQ(tokens, (std::vector<int64_t>{3, 3}));
  const absl::StatusOr<Split> split = ComputeSplit(counts, layer, 2, {1, 1}, Topology::OneNode(2));
  ASSERT_TRUE(split.ok()) << split.status();
  const Route route = MakeRoute(*split, layer);
  EXPECT_TRUE(CheckConserved(route, *split, counts, tokens, all).ok());

  // A share that is lost on the way: its source sends less than it routes.
  Split less = *split;
  less.shares.pop_back();
  const Route lossy = MakeRoute(less, layer);
  EXPECT_EQ(CheckConserved(lossy, less, counts, tokens, all).message(),
            "rank 1 routes 2 assignments and sends 0");
  EXPECT_TRUE(CheckConserved(lossy, less, counts, tokens, {0, 0}).ok()) << "nobody asked for its rows";
  // A host that is to compute other ones than come, and tokens that nobody computes.
  Split other = *split;
  ++other.rank_tokens[1];
  EXPECT_EQ(CheckConserved(route, other, counts, tokens, all).message(),
            "rank 1 computes 4 assignments, receives 3 and has 3 in its slots");
  EXPECT_EQ(CheckConserved(route, *split, counts, {3, 4}, all).message(), "7 assignments routed, 6 computed");
}

}  // namespace
}  // namespace ballast
