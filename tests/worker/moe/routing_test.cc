#include "worker/moe/routing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

#include "base/rng.h"

namespace ballast {
namespace {

TEST(Routing, SortsByExpertThenTokenThenK) {
  const std::vector<int32_t> choices = {2, 0, 0, 2, 2, 1};  // three tokens, two experts each
  const Routing routing = MakeRouting(choices, 2, 4);
  EXPECT_EQ(routing.counts, (std::vector<int64_t>{2, 1, 3, 0}));
  EXPECT_EQ(routing.token_of, (std::vector<int64_t>{0, 1, 2, 0, 1, 2}));
  EXPECT_EQ(routing.row_of, (std::vector<int64_t>{3, 0, 1, 4, 5, 2}));
}

TEST(Routing, OfNothingIsNothing) {
  const Routing routing = MakeRouting({}, 2, 3);
  EXPECT_EQ(routing.counts, (std::vector<int64_t>{0, 0, 0}));
  EXPECT_TRUE(routing.token_of.empty());
  EXPECT_TRUE(routing.row_of.empty());
}

TEST(Routing, AgreesWithAStableSort) {
  constexpr uint64_t kSeed = 5;
  Rng rng(kSeed);
  for (int round = 0; round < 200; ++round) {
    const int experts = static_cast<int>(rng.Between(1, 9));
    const int top_k = static_cast<int>(rng.Between(1, experts));
    const int64_t tokens = rng.Between(0, 30);
    std::vector<int32_t> choices;
    for (int64_t i = 0; i < tokens * top_k; ++i) choices.push_back(static_cast<int32_t>(rng.Below(experts)));
    const Routing routing = MakeRouting(choices, top_k, experts);

    std::vector<std::tuple<int32_t, int64_t>> sorted;  // (expert, token * top_k + k)
    for (size_t i = 0; i < choices.size(); ++i) sorted.emplace_back(choices[i], static_cast<int64_t>(i));
    std::sort(sorted.begin(), sorted.end());
    for (size_t row = 0; row < sorted.size(); ++row) {
      const int64_t assignment = std::get<1>(sorted[row]);
      ASSERT_EQ(routing.row_of[assignment], static_cast<int64_t>(row))
          << "seed " << kSeed << " round " << round;
      ASSERT_EQ(routing.token_of[row], assignment / top_k) << "seed " << kSeed << " round " << round;
    }
    for (int e = 0; e < experts; ++e) {
      EXPECT_EQ(routing.counts[e], std::count(choices.begin(), choices.end(), e));
    }
  }
}

TEST(RoutingDeathTest, AnExpertOutOfRangeIsOurMistake) {
  const std::vector<int32_t> choices = {0, 3};
  EXPECT_DEATH(MakeRouting(choices, 1, 3), "expert 3 of 3");
}

}  // namespace
}  // namespace ballast
