#include "coordinator/planner/layer/objective.h"

#include <gtest/gtest.h>

#include "coordinator/planner/layer/bounds.h"
#include "tests/plan/simplex.h"
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

// J again, with a linear program for the split and plain loops for sync.
double ObjectiveByLinearProgram(const LayerTask& task, const SlotTable& table, const LayerCosts& costs) {
  const size_t experts = task.load.size(), variables = experts + table.size();
  std::vector<std::vector<double>> a(1, std::vector<double>(variables, 0));
  std::vector<double> b = {1}, prices(variables, 0);
  std::vector<double> copies(experts, 0);
  for (size_t e = 0; e < experts; ++e) prices[e] = static_cast<double>(task.load[e]);
  for (size_t g = 0; g < table.size(); ++g) {
    a[0][experts + g] = task.speeds[g] / 65536.0;
    for (int e : table[g]) {
      if (e == kNoExpert) continue;
      ++copies[static_cast<size_t>(e)];
      a.emplace_back(variables, 0);
      a.back()[static_cast<size_t>(e)] = 1;
      a.back()[experts + g] = -1;
      b.push_back(0);
    }
  }
  double busiest_sync = 0;
  for (const std::vector<int>& row : table) {
    double sync = 0;
    for (int e : row) {
      if (e != kNoExpert) sync += 1 - 1 / copies[static_cast<size_t>(e)];
    }
    busiest_sync = std::max(busiest_sync, sync);
  }
  return costs.load * testing::SolveLinearProgram(a, b, prices) + costs.sync * busiest_sync;
}

TEST(Objective, EqualsALinearProgramOnRandomPlacements) {
  const uint64_t seed = 42;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  for (int i = 0; i < 2000; ++i) {
    LayerTask task = testing::RandomTask(rng, 12, 6, 3);
    for (int64_t& load : task.load) load *= 1000;  // whole tokens matter less
    const SlotTable table = testing::RandomTable(rng, task);
    LayerCosts costs;
    costs.load = rng.Uniform();
    costs.sync = 1e6 * rng.Uniform();
    const double expected = ObjectiveByLinearProgram(task, table, costs);
    ASSERT_NEAR(Objective(task, table, costs), expected, 1e-6 * expected + 4 * costs.load) << "case " << i;
  }
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
    const SlotTable less = DropCostly(task, table, costs, cost, evaluations);
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
