#include "plan/count_sums.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/rng.h"

namespace ballast {
namespace {

using ::testing::HasSubstr;

CountMatrix Draw(Rng& rng, int ranks, int experts, int64_t most) {
  CountMatrix counts(static_cast<size_t>(ranks), std::vector<int64_t>(static_cast<size_t>(experts)));
  for (std::vector<int64_t>& row : counts) {
    for (int64_t& count : row) count = rng.Between(0, most);
  }
  return counts;
}

Topology Nodes(int ranks, int per_node) {
  std::vector<std::string> names;
  for (int r = 0; r < ranks; ++r) names.push_back(std::to_string(r / per_node));
  return Topology::FromNodeNames(names);
}

// Ranks of one node are read side by side: sums and hash are those of ranks read one by one, also where
// counts have more than 32 bits.
TEST(CountSums, DoNotDependOnHowRowsAreRead) {
  const uint64_t seed = 71;
  Rng rng(seed);
  for (int round = 0; round < 500; ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed) + " round " + std::to_string(round));
    const int ranks = static_cast<int>(rng.Between(1, 13)), experts = static_cast<int>(rng.Between(1, 9));
    const CountMatrix counts = Draw(rng, ranks, experts, rng.Chance(0.5) ? 1000 : int64_t{1} << 40);
    CountSums alone;
    ASSERT_TRUE(SumCounts(counts, experts, Nodes(ranks, 1), alone).ok());
    const int per_node = static_cast<int>(rng.Between(2, ranks + 1));
    CountSums together;
    ASSERT_TRUE(SumCounts(counts, experts, Nodes(ranks, per_node), together).ok());
    EXPECT_EQ(together.hash, alone.hash);
    std::vector<int64_t> of_expert(static_cast<size_t>(experts), 0);
    std::vector<int64_t> of_node(together.of_node.size(), 0);
    for (int r = 0; r < ranks; ++r) {
      for (int e = 0; e < experts; ++e) {
        of_expert[e] += counts[r][e];
        of_node[r / per_node * experts + e] += counts[r][e];
      }
    }
    EXPECT_EQ(together.of_expert, of_expert);
    EXPECT_EQ(alone.of_expert, of_expert);
    EXPECT_EQ(together.of_node, of_node);
    // Every count matters.
    CountMatrix other = counts;
    other[rng.Below(static_cast<uint64_t>(ranks))][rng.Below(static_cast<uint64_t>(experts))] ^= 1;
    ASSERT_TRUE(SumCounts(other, experts, Nodes(ranks, per_node), alone).ok());
    EXPECT_NE(alone.hash, together.hash);
  }
}

TEST(CountSums, TheFirstBadCountIsNamedWhereverItsRowIsRead) {
  const uint64_t seed = 72;
  Rng rng(seed);
  for (int round = 0; round < 200; ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed) + " round " + std::to_string(round));
    CountMatrix counts = Draw(rng, 8, 5, 1000);
    const int rank = static_cast<int>(rng.Below(8)), expert = static_cast<int>(rng.Below(5));
    counts[rank][expert] = rng.Chance(0.5) ? -1 : kTokensMax + 1;
    CountSums sums;
    const absl::Status status = SumCounts(counts, 5, Nodes(8, rng.Chance(0.5) ? 8 : 3), sums);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("counts[" + std::to_string(rank) + "][" + std::to_string(expert) + "]: found"));
    counts[rank].pop_back();
    EXPECT_THAT(std::string(SumCounts(counts, 5, Nodes(8, 8), sums).message()),
                HasSubstr("counts[" + std::to_string(rank) + "]: found 4 experts"));
  }
}

// Counts that are each allowed can be too many together.
TEST(CountSums, NoMoreThanTokensMaxInAll) {
  CountSums sums;
  const CountMatrix counts(4, std::vector<int64_t>(1, kTokensMax / 4));
  EXPECT_TRUE(SumCounts(counts, 1, Nodes(4, 4), sums).ok());
  EXPECT_EQ(sums.of_expert[0], kTokensMax);
  CountMatrix more = counts;
  ++more[3][0];
  EXPECT_THAT(std::string(SumCounts(more, 1, Nodes(4, 4), sums).message()), HasSubstr("counts[3][0]: found"));
}

}  // namespace
}  // namespace ballast
