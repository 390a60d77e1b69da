#include "coordinator/planner/layer/bounds.h"

#include <gtest/gtest.h>

#include <functional>

#include "tests/planner/layer/checkers.h"

namespace ballast {
namespace {

using testing::BoundBySubsets;
using testing::RandomTable;
using testing::RandomTask;

// Calls `visit` with every valid table (no slot order: within a rank experts rise).
void ForEveryTable(const LayerTask& task, int g, SlotTable& table, bool copies,
                   const std::function<void(const SlotTable&)>& visit) {
  if (g == task.ranks()) {
    if (CheckTable(task, table).ok()) visit(table);
    return;
  }
  for (int subset = 0; subset < 1 << task.experts(); ++subset) {
    if (__builtin_popcount(static_cast<unsigned>(subset)) > task.slots[g]) continue;
    std::vector<int> row;
    bool twice = false;
    for (int e = 0; e < task.experts(); ++e) {
      if (!(subset >> e & 1)) continue;
      for (int h = 0; h < g; ++h) twice = twice || Holds(table[h], e);
      row.push_back(e);
    }
    if (twice && !copies) continue;
    row.resize(static_cast<size_t>(task.slots[g]), kNoExpert);
    table[g] = row;
    ForEveryTable(task, g + 1, table, copies, visit);
  }
}

TEST(Bounds, LieBelowEveryPlacement) {
  const uint64_t seed = 20261;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  int tight = 0, tight_without = 0;
  for (int i = 0; i < 150; ++i) {
    const LayerTask task = RandomTask(rng, 4, 3, 1);
    if (task.total_load() == 0) continue;
    SlotTable table = EmptyTable(task);
    double best = 1e300, best_without = 1e300;
    ForEveryTable(task, 0, table, true,
                  [&](const SlotTable& t) { best = std::min(best, BoundBySubsets(task, t)); });
    ForEveryTable(task, 0, table, false, [&](const SlotTable& t) {
      best_without = std::min(best_without, BoundBySubsets(task, t));
    });
    EXPECT_LE(PerfectBound(task), SlotBound(task) * (1 + 1e-9));
    EXPECT_LE(SlotBound(task), best * (1 + 1e-9));
    EXPECT_LE(NoReplicaBound(task), best_without * (1 + 1e-9));
    tight += SlotBound(task) > best * (1 - 1e-6);
    tight_without += NoReplicaBound(task) > best_without * (1 - 1e-6);
  }
  // Bounds of 0 would pass everything above.
  EXPECT_GE(tight, 60);
  EXPECT_GE(tight_without, 60);
}

TEST(Bounds, KnownFigures) {
  // Eight experts on 4 x 2: without spare slots 600 cannot be split.
  const LayerTask task = UniformTask({600, 560, 120, 120, 20, 10, 10, 10}, 4, 2, 4);
  EXPECT_NEAR(PerfectBound(task) * 65536, 362.5, 1e-6);
  EXPECT_NEAR(SlotBound(task) * 65536, 600, 1e-3);
  // Of the five largest two share a rank: at least 120 + 20.
  EXPECT_NEAR(NoReplicaBound(task) * 65536, 600, 1e-6);
}

TEST(PlacedBound, EqualsTheSubsetsWithinWholeTokens) {
  const uint64_t seed = 20262;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  for (int i = 0; i < 2000; ++i) {
    const LayerTask task = RandomTask(rng, 8, 6, 2);
    const SlotTable table = RandomTable(rng, task);
    ASSERT_TRUE(CheckTable(task, table).ok()) << CheckTable(task, table);
    const double bound = BoundBySubsets(task, table);
    EXPECT_GE(PlacedBound(task, table), bound * (1 - 1e-12));
    EXPECT_LE(PlacedBound(task, table), bound + task.ranks() / 20'000.0);
  }
}

TEST(LayerTask, RefusesWhatCannotBe) {
  const LayerTask good = UniformTask({5, 6, 7}, 2, 2, 1);
  EXPECT_TRUE(CheckTask(good).ok());
  auto message = [](const LayerTask& task) { return std::string(CheckTask(task).message()); };
  LayerTask task = good;
  task.load[1] = -1;
  EXPECT_NE(message(task).find("load of expert 1: found -1"), std::string::npos) << message(task);
  task = good;
  task.speeds[1] = 0;
  EXPECT_NE(message(task).find("speed of rank 1: found 0"), std::string::npos) << message(task);
  task = good;
  task.slots = {2, 0};
  EXPECT_NE(message(task).find("cannot hold 3 experts"), std::string::npos) << message(task);
  task.slots = {9, 0};  // one rank holds each expert once
  EXPECT_TRUE(CheckTask(task).ok());
  task = good;
  task.node_of_rank = {0, 2};
  EXPECT_FALSE(CheckTask(task).ok());
  EXPECT_FALSE(CheckTable(good, {{0, 1}, {1, kNoExpert}}).ok()) << "expert 2 has no slot";
  EXPECT_FALSE(CheckTable(good, {{0, 0}, {1, 2}}).ok()) << "twice on a rank";
  EXPECT_FALSE(CheckTable(good, {{0, 3}, {1, 2}}).ok()) << "no such expert";
  EXPECT_FALSE(CheckTable(good, {{0, 1}, {2}}).ok()) << "shape";
}

TEST(SlotTables, KeptIndicesAndWrites) {
  const SlotTable current = {{4, kNoExpert, 7}, {1, 2, 3}};
  const SlotTable next = KeepIndices(current, {{7, 5, 6}, {3, 1, kNoExpert}});
  EXPECT_EQ(next, (SlotTable{{5, 6, 7}, {1, kNoExpert, 3}}));
  EXPECT_EQ(CountWrites(current, next), 2);
  EXPECT_EQ(CountWrites(current, current), 0);
}

}  // namespace
}  // namespace ballast
