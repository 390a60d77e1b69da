#include "plan/apportion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "base/rng.h"

namespace ballast {
namespace {

using ::testing::ElementsAre;

TEST(Apportion, LargestRemaindersAreRoundedUpAndTiesGoToTheLowerIndex) {
  EXPECT_THAT(Apportion(10, {1, 1, 1}), ElementsAre(4, 3, 3));
  EXPECT_THAT(Apportion(5, {2, 2, 2, 2}), ElementsAre(2, 1, 1, 1));
  EXPECT_THAT(Apportion(7, {6, 0, 3}), ElementsAre(5, 0, 2));  // 4.67, 0, 2.33
  EXPECT_THAT(Apportion(0, {0, 0}), ElementsAre(0, 0));
  EXPECT_THAT(Apportion(int64_t{1} << 61, {int64_t{1} << 61, 0}), ElementsAre(int64_t{1} << 61, 0));
}

TEST(Apportion, RandomPartsAreQuotasRoundedUpOrDown) {
  Rng rng(20240501);
  for (int round = 0; round < 5000; ++round) {
    std::vector<int64_t> weights(static_cast<size_t>(rng.Between(1, 8)));
    for (int64_t& weight : weights) weight = rng.Chance(0.3) ? 0 : rng.Between(0, 1000);
    const int64_t total = std::accumulate(weights.begin(), weights.end(), int64_t{0});
    if (total == 0) continue;
    const int64_t amount = rng.Between(0, rng.Chance(0.5) ? total : 100000);
    const auto parts = Apportion(amount, weights);
    EXPECT_EQ(std::accumulate(parts.begin(), parts.end(), int64_t{0}), amount);
    for (size_t i = 0; i < parts.size(); ++i) {
      const int64_t floor = amount * weights[i] / total;
      EXPECT_GE(parts[i], floor);
      EXPECT_LE(parts[i], floor + (amount * weights[i] % total != 0));
      EXPECT_TRUE(amount > total || parts[i] <= weights[i]);
    }
  }
}

// Amounts up to the largest that splits know, and small ones, where rounding shows.
int64_t SomeAmount(Rng& rng) {
  return rng.Chance(0.2) ? 0 : rng.Between(0, int64_t{1} << (rng.Chance(0.5) ? 4 : 44));
}

TEST(ProportionalPart, PeeledPartsFitAndAddUp) {
  Rng rng(20240502);
  for (int round = 0; round < 5000; ++round) {
    SCOPED_TRACE(round);
    std::vector<int64_t> weights(static_cast<size_t>(rng.Between(1, 9)));
    for (int64_t& weight : weights) weight = SomeAmount(rng);
    int64_t sum = std::accumulate(weights.begin(), weights.end(), int64_t{0});
    int64_t amount = rng.Between(0, sum);
    for (int64_t weight : weights) {
      if (weight == 0) continue;
      const int64_t part = ProportionalPart(amount, weight, sum);
      EXPECT_EQ(part, static_cast<int64_t>(static_cast<__int128>(amount) * weight / sum));
      EXPECT_LE(part, weight);
      amount -= part;
      sum -= weight;
    }
    EXPECT_EQ(amount, 0);
  }
}

TEST(RunningShare, PiecesGetTheirProportionAndThePartIsDealtWhole) {
  Rng rng(20240503);
  for (int round = 0; round < 5000; ++round) {
    SCOPED_TRACE(round);
    std::vector<int64_t> pieces(static_cast<size_t>(rng.Between(1, 9)));
    for (int64_t& piece : pieces) piece = SomeAmount(rng);
    const int64_t whole = std::accumulate(pieces.begin(), pieces.end(), int64_t{0});
    const int64_t part = rng.Chance(0.1) ? whole : rng.Between(0, whole);
    RunningShare share(part, whole);
    int64_t dealt = 0;
    for (int64_t piece : pieces) {
      const int64_t got = share.Next(piece);
      EXPECT_GE(got, 0);
      EXPECT_LE(got, piece);
      const int64_t fair = whole == 0 ? 0 : static_cast<int64_t>(static_cast<__int128>(piece) * part / whole);
      EXPECT_GE(got, fair) << "of " << piece;
      EXPECT_LE(got, fair + 2) << "of " << piece;
      dealt += got;
    }
    EXPECT_EQ(dealt, part);
  }
  RunningShare all(int64_t{1} << 48, int64_t{1} << 48);
  EXPECT_EQ(all.Next(int64_t{1} << 48), int64_t{1} << 48);
}

}  // namespace
}  // namespace ballast
