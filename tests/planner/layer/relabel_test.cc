#include "coordinator/planner/layer/relabel.h"

#include <gtest/gtest.h>

#include <numeric>

#include "coordinator/planner/layer/split_pack.h"
#include "tests/planner/layer/checkers.h"

namespace ballast {
namespace {

using testing::LognormalLoad;

TEST(MaxAssignment, EqualsAllPermutations) {
  const uint64_t seed = 21;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  for (int i = 0; i < 500; ++i) {
    const size_t n = 1 + rng.Below(6);
    std::vector<std::vector<int64_t>> gain(n, std::vector<int64_t>(n));
    for (auto& row : gain) {
      for (int64_t& g : row) g = rng.Between(-5, 10);
    }
    std::vector<int> order(n);
    std::iota(order.begin(), order.end(), 0);
    int64_t best = -1000;
    do {
      int64_t sum = 0;
      for (size_t r = 0; r < n; ++r) sum += gain[r][static_cast<size_t>(order[r])];
      best = std::max(best, sum);
    } while (std::next_permutation(order.begin(), order.end()));
    const std::vector<int> found = MaxAssignment(gain);
    int64_t sum = 0;
    std::vector<char> used(n, 0);
    for (size_t r = 0; r < n; ++r) {
      sum += gain[r][static_cast<size_t>(found[r])];
      EXPECT_FALSE(used[static_cast<size_t>(found[r])]++);
    }
    EXPECT_EQ(sum, best);
  }
}

TEST(Relabel, APermutedPlacementNeedsNoWrite) {
  Rng rng(22);
  for (const int ranks : {8, 300}) {
    const LayerTask task = UniformTask(LognormalLoad(rng, 4 * ranks, 0.8), ranks, 5, 2);
    const SlotTable current = SplitPack(task);
    SlotTable wanted = current;
    const size_t run = ranks > 128 ? 3 : 1;  // whole runs move above 128 ranks
    std::rotate(wanted.begin(), wanted.begin() + static_cast<std::ptrdiff_t>(run),
                wanted.end() - static_cast<std::ptrdiff_t>(ranks > 128 ? 3 + ranks % 3 : 0));
    ASSERT_NE(wanted, current);
    EXPECT_EQ(Relabel(task, current, wanted, false), current) << ranks;
  }
}

TEST(Relabel, SavesWritesAndKeepsRowsWithinClasses) {
  const uint64_t seed = 23;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  int plain = 0, relabelled = 0;
  for (int i = 0; i < 50; ++i) {
    LayerTask task = UniformTask(LognormalLoad(rng, 32, 1), 8, 5, 4);
    task.speeds[7] = 30'000;
    const SlotTable current = SplitPack(task);
    for (int64_t& load : task.load) load += load * rng.Between(-20, 20) / 100;
    const SlotTable wanted = SplitPack(task);
    const SlotTable next = Relabel(task, current, wanted, i % 2 == 1);
    ASSERT_TRUE(CheckTable(task, next).ok());
    EXPECT_NEAR(PlacedBound(task, next), PlacedBound(task, wanted), 1e-9);
    EXPECT_EQ(CountWrites({next[7]}, {wanted[7]}), 0) << "the slow rank's row must stay its own";
    plain += CountWrites(current, wanted);
    relabelled += CountWrites(current, next);
    EXPECT_LE(CountWrites(current, next), CountWrites(current, wanted));
  }
  EXPECT_LT(relabelled, 0.95 * plain);
}

}  // namespace
}  // namespace ballast
