#include "coordinator/planner/layer/split_pack.h"

#include <gtest/gtest.h>

#include "coordinator/planner/layer/bounds.h"
#include "coordinator/planner/layer/hier_split_pack.h"
#include "tests/planner/layer/checkers.h"

namespace ballast {
namespace {

using testing::LognormalLoad;
using testing::RandomTask;

TEST(SplitPack, MeetsTheBoundOnSkewedLoads) {
  const uint64_t seed = 5;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  struct Case {
    int ranks, slots, layers;
  };
  for (const Case& c : {Case{64, 5, 6}, Case{64, 6, 6}, Case{1024, 2, 1}}) {
    for (const double sigma : {0.4, 0.8, 1.2}) {
      for (int layer = 0; layer < c.layers; ++layer) {
        const LayerTask task = UniformTask(LognormalLoad(rng, 256, sigma), c.ranks, c.slots, 8);
        const SlotTable table = SplitPack(task);
        ASSERT_TRUE(CheckTable(task, table).ok()) << CheckTable(task, table);
        EXPECT_LE(PlacedBound(task, table), 1.001 * SlotBound(task))
            << c.ranks << " x " << c.slots << ", sigma " << sigma;
      }
    }
  }
}

TEST(SplitPack, ThePublishedExampleIsPackedPerfectly) {
  // Loads of FlashLB's example, 8 ranks x 2 slots: EPLB 232, FlashLB 205.
  const LayerTask task = UniformTask({600, 560, 120, 120, 20, 10, 10, 10}, 8, 2, 8);
  const SlotTable table = SplitPack(task);
  EXPECT_LE(PlacedBound(task, table) * 65536, 182);  // the mean is 181.25
  int used = 0;
  for (int copies : CopiesOf(table, task.experts())) used += copies;
  EXPECT_LE(used, 15);
}

TEST(SplitPack, IsValidAndNearTheBoundWhateverTheInput) {
  const uint64_t seed = 6;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  double ratio = 0;
  int measured = 0;
  for (int i = 0; i < 2000; ++i) {
    const LayerTask task = RandomTask(rng, 24, 10, 3);
    ASSERT_TRUE(CheckTask(task).ok());
    const SlotTable table = SplitPack(task);
    ASSERT_TRUE(CheckTable(task, table).ok()) << CheckTable(task, table);
    const SlotTable filled = SplitPackFilled(task, rng.Next());
    ASSERT_TRUE(CheckTable(task, filled).ok()) << CheckTable(task, filled);
    const SlotTable hierarchical = HierSplitPack(task);
    ASSERT_TRUE(CheckTable(task, hierarchical).ok()) << CheckTable(task, hierarchical);
    if (task.total_load() == 0 || task.spare_slots() < task.ranks()) continue;
    ratio += PlacedBound(task, table) / SlotBound(task);
    ++measured;
  }
  ASSERT_GT(measured, 300);
  // Unequal slots and speeds are harder than the bound knows; on average little is lost.
  EXPECT_LE(ratio / measured, 1.05);
}

TEST(SplitPack, AFilledPlanStandsDriftBetter) {
  const uint64_t seed = 7;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  double plain = 0, filled = 0;
  for (int i = 0; i < 6; ++i) {
    LayerTask task = UniformTask(LognormalLoad(rng, 256, 1.2), 64, 6, 8);
    const SlotTable a = SplitPack(task), b = SplitPackFilled(task, i);
    EXPECT_LE(PlacedBound(task, b), 1.001 * SlotBound(task));
    for (int64_t& load : task.load)
      load = static_cast<int64_t>(static_cast<double>(load) * std::exp(0.2 * rng.Normal()));
    plain += PlacedBound(task, a) / PerfectBound(task);
    filled += PlacedBound(task, b) / PerfectBound(task);
  }
  EXPECT_LE(filled / 6, 1.08);
  EXPECT_LT(filled, plain);
}

TEST(DropUnneeded, KeepsTheBoundWithFewerCopies) {
  const uint64_t seed = 8;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  int dropped = 0;
  for (int i = 0; i < 100; ++i) {
    const LayerTask task = RandomTask(rng, 12, 6, 3);
    const SlotTable table = testing::RandomTable(rng, task);
    const double bound = PlacedBound(task, table);
    const SlotTable less = DropUnneeded(task, table, bound);
    ASSERT_TRUE(CheckTable(task, less).ok());
    EXPECT_LE(PlacedBound(task, less), bound * (1 + 1e-9));
    EXPECT_EQ(CountWrites(table, less), 0);
    dropped += CountWrites(less, table);
  }
  EXPECT_GT(dropped, 100);
}

TEST(HierSplitPack, KeepsCopiesInsideNodes) {
  const uint64_t seed = 9;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  int crossing_flat = 0, crossing = 0;
  for (int i = 0; i < 5; ++i) {
    const LayerTask task = UniformTask(LognormalLoad(rng, 64, 0.5), 16, 6, 8);
    auto count = [&](const SlotTable& table) {
      int sum = 0;
      for (const auto& hosts : HostsOf(table, task.experts())) {
        for (Rank host : hosts) sum += task.node_of_rank[host.index()] != task.node_of_rank[hosts[0].index()];
      }
      return sum;
    };
    const SlotTable hierarchical = HierSplitPack(task);
    EXPECT_LE(PlacedBound(task, hierarchical), 1.02 * PerfectBound(task));
    crossing += count(hierarchical);
    crossing_flat += count(SplitPack(task));
  }
  EXPECT_LT(crossing, 5 * 16);
  EXPECT_GT(crossing_flat, 0);
}

}  // namespace
}  // namespace ballast
