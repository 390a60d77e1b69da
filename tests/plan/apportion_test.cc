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

TEST(Apportion, TablesKeepRowAndColumnSums) {
  Rng rng(20240502);
  for (int round = 0; round < 3000; ++round) {
    std::vector<int64_t> rows(static_cast<size_t>(rng.Between(1, 7)));
    std::vector<int64_t> columns(static_cast<size_t>(rng.Between(1, 7)), 0);
    for (int64_t& row : rows) row = rng.Chance(0.2) ? 0 : rng.Between(0, 200);
    const int64_t total = std::accumulate(rows.begin(), rows.end(), int64_t{0});
    for (int64_t i = 0; i < total; ++i) ++columns[rng.Below(rng.Chance(0.5) ? 1 : columns.size())];
    const auto cells = ApportionTable(rows, columns);
    std::vector<int64_t> column_sums(columns.size(), 0);
    for (size_t i = 0; i < rows.size(); ++i) {
      int64_t sum = 0;
      for (size_t j = 0; j < columns.size(); ++j) {
        EXPECT_GE(cells[i][j], 0);
        sum += cells[i][j];
        column_sums[j] += cells[i][j];
        if (total > 0) {
          // Close to proportional: off by rounding alone, which the rows before may have left behind.
          EXPECT_NEAR(static_cast<double>(cells[i][j]), static_cast<double>(rows[i]) * columns[j] / total,
                      7.0);
        }
      }
      EXPECT_EQ(sum, rows[i]);
    }
    EXPECT_EQ(column_sums, columns);
  }
}

}  // namespace
}  // namespace ballast
