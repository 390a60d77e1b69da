#include "coordinator/planner/layer/objective.h"

#include <gtest/gtest.h>

#include "coordinator/planner/layer/bounds.h"
#include "tests/planner/layer/checkers.h"

namespace ballast {
namespace {

TEST(Objective, ByHand) {
  // Expert 0 on three ranks, expert 1 on two, expert 2 on one.
  const LayerTask task = UniformTask({300, 200, 100}, 3, 2, 3);
  const SlotTable table = {{0, 1}, {0, 1}, {0, 2}};
  EXPECT_NEAR(SyncSlots(table, 3), 2.0 / 3 + 0.5, 1e-12);
  LayerCosts costs;
  costs.load = 0.5;
  costs.sync = 12;
  // 200 tokens on each rank.
  EXPECT_NEAR(Objective(task, table, costs), 0.5 * 200 + 12 * (2.0 / 3 + 0.5), 1e-9);
  EXPECT_EQ(BusiestWrites({{0, 1}, {0, 2}, {0, 2}}, table), 1);
  EXPECT_NEAR(Objective(task, table, RelativeCosts(task, 0, 0)), 1, 1e-9);
}

TEST(DropCostly, AgreesWithTryingEverySingleDrop) {
  const uint64_t seed = 41;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  int dropped = 0, kept = 0;
  for (int i = 0; i < 300; ++i) {
    const LayerTask task = testing::RandomTask(rng, 10, 5, 3);
    if (task.total_load() == 0) continue;
    const SlotTable table = testing::RandomTable(rng, task);
    const LayerCosts costs = RelativeCosts(task, 0.3 * rng.Uniform(), 0);
    int64_t evaluations = 10'000;
    const auto cost = [&](const SlotTable& any) { return Objective(task, any, costs); };
    const SlotTable less = DropCostly(task, table, cost, evaluations);
    ASSERT_TRUE(CheckTable(task, less).ok());
    EXPECT_EQ(CountWrites(table, less), 0);
    EXPECT_LE(Objective(task, less, costs), Objective(task, table, costs) * (1 + 1e-9));
    dropped += CountWrites(less, table);
    // On the rank that pays most, no single drop lowers J any more.
    const std::vector<int> copies = CopiesOf(less, task.experts());
    for (size_t g = 0; g < less.size(); ++g) {
      double sync = 0;
      for (int e : less[g]) sync += e == kNoExpert ? 0 : (copies[e] - 1.0) / copies[e];
      if (sync < SyncSlots(less, task.experts()) - 1e-9) continue;
      for (size_t k = 0; k < less[g].size(); ++k) {
        if (less[g][k] == kNoExpert || copies[less[g][k]] == 1) continue;
        SlotTable without = less;
        without[g][k] = kNoExpert;
        EXPECT_GE(Objective(task, without, costs), Objective(task, less, costs) * (1 - 1e-9));
        ++kept;
      }
    }
  }
  EXPECT_GT(dropped, 100);
  EXPECT_GT(kept, 50);
}

}  // namespace
}  // namespace ballast
