#include "coordinator/planner/layer/flow_repair.h"

#include <gtest/gtest.h>

#include "coordinator/planner/layer/bounds.h"
#include "coordinator/planner/layer/slot_flow.h"
#include "coordinator/planner/layer/split_pack.h"
#include "tests/planner/layer/checkers.h"

namespace ballast {
namespace {

using testing::LognormalLoad;
using testing::RandomTable;
using testing::RandomTask;
using testing::UnroutedBySubsets;

TEST(SlotFlow, IsAMaximumFlowAlsoAfterWrites) {
  const uint64_t seed = 11;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  for (int i = 0; i < 1000; ++i) {
    const LayerTask task = RandomTask(rng, 7, 5, 2);
    const double bound = PerfectBound(task) * (0.5 + rng.Uniform());
    std::vector<int64_t> capacity;
    for (uint32_t speed : task.speeds) capacity.push_back(static_cast<int64_t>(bound * speed));
    SlotFlow flow(task, RandomTable(rng, task), bound);
    for (int write = 0; write < 6; ++write) {
      ASSERT_EQ(flow.unrouted(), UnroutedBySubsets(task, flow.table(), capacity)) << "write " << write;
      for (int g = 0; g < task.ranks(); ++g) {
        int64_t carried = 0;
        for (int k = 0; k < task.slots[g]; ++k) carried += flow.flow(g, k);
        ASSERT_EQ(carried + flow.spare(g), std::min(capacity[g], task.total_load()));
      }
      const int g = static_cast<int>(rng.Below(static_cast<uint64_t>(task.ranks())));
      const int e = static_cast<int>(rng.Below(static_cast<uint64_t>(task.experts())));
      if (task.slots[g] == 0 || Holds(flow.table()[g], e)) continue;
      flow.Write(g, static_cast<int>(rng.Below(static_cast<uint64_t>(task.slots[g]))), e);
    }
  }
}

// Among more experts than have subsets: as much is routed as by a flow of the same slots that knows no
// writes.
TEST(SlotFlow, WritesRouteAsMuchAsANewFlow) {
  const uint64_t seed = 23;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  for (int i = 0; i < 8000; ++i) {
    const LayerTask task = RandomTask(rng, 60, 12, 3);
    if (task.total_load() == 0) continue;
    const double bound = SlotBound(task) * (0.9 + 0.2 * rng.Uniform());
    SlotFlow flow(task, RandomTable(rng, task), bound);
    for (int write = 0; write < 12; ++write) {
      const int g = static_cast<int>(rng.Below(static_cast<uint64_t>(task.ranks())));
      const int e = static_cast<int>(rng.Below(static_cast<uint64_t>(task.experts())));
      if (task.slots[g] == 0) continue;
      bool held = false;
      flow.ForHosts(e, [&](int rank) { held |= rank == g; });
      if (!held) flow.Write(g, static_cast<int>(rng.Below(static_cast<uint64_t>(task.slots[g]))), e);
    }
    ASSERT_EQ(flow.unrouted(), SlotFlow(task, flow.table(), bound).unrouted()) << "case " << i;
  }
}

// What a trial write does is undone and done again; what an expert wants is never less than it gains by one.
TEST(SlotFlow, AChangeIsDoneAgainAndGainsNoMoreThanIsWanted) {
  const uint64_t seed = 29;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  int gained_all = 0;
  for (int i = 0; i < 5000; ++i) {
    const LayerTask task = RandomTask(rng, 30, 10, 3);
    if (task.total_load() == 0) continue;
    const double bound = SlotBound(task) * (0.8 + 0.3 * rng.Uniform());
    SlotFlow flow(task, RandomTable(rng, task), bound);
    const int g = static_cast<int>(rng.Below(static_cast<uint64_t>(task.ranks())));
    const int e = static_cast<int>(rng.Below(static_cast<uint64_t>(task.experts())));
    const SlotTable before = flow.table();
    if (task.slots[g] == 0 || Holds(before[g], e)) continue;
    const int64_t unrouted = flow.unrouted(), most = flow.Wanting(e);
    const size_t mark = flow.Mark();
    flow.Write(g, static_cast<int>(rng.Below(static_cast<uint64_t>(task.slots[g]))), e);
    const SlotTable after = flow.table();
    const int64_t then = flow.unrouted();
    EXPECT_LE(unrouted - then, most) << "case " << i;
    gained_all += most > 0 && unrouted - then == most;
    std::vector<SlotFlow::Change> undone;
    flow.Undo(mark, &undone);
    ASSERT_EQ(flow.table(), before);
    ASSERT_EQ(flow.unrouted(), unrouted);
    flow.Redo(undone);
    ASSERT_EQ(flow.table(), after);
    ASSERT_EQ(flow.unrouted(), then);
    flow.Undo(mark);
    ASSERT_EQ(flow.table(), before);
    ASSERT_EQ(flow.unrouted(), unrouted);
  }
  EXPECT_GT(gained_all, 100);
}

// The bound that a flow finds by rising is that of the exact split.
TEST(SlotFlow, RisesToThePlacedBound) {
  const uint64_t seed = 31;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  int short_of_room = 0;
  for (int i = 0; i < 5000; ++i) {
    const LayerTask task = RandomTask(rng, 40, 12, 3);
    if (task.total_load() == 0) continue;
    const SlotTable table = RandomTable(rng, task);
    SlotFlow flow(task, table, SlotBound(task) * (0.9 + 0.3 * rng.Uniform()));
    if (flow.unrouted() == 0) continue;
    ++short_of_room;
    EXPECT_EQ(flow.RaiseUntilRouted(), PlacedBound(task, table)) << "case " << i;
  }
  EXPECT_GT(short_of_room, 1000);
}

// Undone, nothing is left of a change; under a higher bound the flow is the largest again.
TEST(SlotFlow, ChangesCanBeUndoneAndTheBoundRaised) {
  const uint64_t seed = 19;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  for (int i = 0; i < 500; ++i) {
    const LayerTask task = RandomTask(rng, 7, 5, 2);
    double bound = PerfectBound(task) * (0.3 + rng.Uniform());
    SlotFlow flow(task, RandomTable(rng, task), bound);
    const auto state = [&] {
      std::vector<int64_t> all = {flow.unrouted()};
      for (int e = 0; e < task.experts(); ++e) {
        all.push_back(flow.left(e));
        all.push_back(flow.copies(e));
        flow.ForHosts(e, [&](int rank) { all.push_back(rank); });
      }
      for (int g = 0; g < task.ranks(); ++g) {
        all.push_back(flow.spare(g));
        for (int k = 0; k < task.slots[g]; ++k) all.push_back(flow.flow(g, k));
      }
      return all;
    };
    const std::vector<int64_t> before = state();
    const SlotTable table = flow.table();
    const size_t mark = flow.Mark();
    for (int write = 0; write < 4; ++write) {
      const int g = static_cast<int>(rng.Below(static_cast<uint64_t>(task.ranks())));
      const int e = static_cast<int>(rng.Between(kNoExpert, task.experts() - 1));
      if (task.slots[g] == 0 || (e != kNoExpert && Holds(flow.table()[g], e))) continue;
      flow.Write(g, static_cast<int>(rng.Below(static_cast<uint64_t>(task.slots[g]))), e);
    }
    flow.Undo(mark);
    ASSERT_EQ(state(), before) << "case " << i;
    ASSERT_EQ(flow.table(), table);
    for (int raise = 0; raise < 3; ++raise) {
      bound *= 1 + 0.3 * rng.Uniform();
      flow.Raise(bound);
      std::vector<int64_t> capacity;
      for (uint32_t speed : task.speeds) capacity.push_back(static_cast<int64_t>(bound * speed));
      ASSERT_EQ(flow.unrouted(), UnroutedBySubsets(task, flow.table(), capacity)) << "case " << i;
    }
  }
}

TEST(FlowRepair, FewWritesFollowDrift) {
  const uint64_t seed = 12;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  double after = 0, writes = 0;
  constexpr int kLayers = 20;
  for (int layer = 0; layer < kLayers; ++layer) {
    // Ornstein-Uhlenbeck in the logarithm, correlation .98, and a burst in every tenth layer.
    std::vector<double> log_load;
    for (int e = 0; e < 256; ++e) log_load.push_back(0.8 * rng.Normal());
    auto load = [&] {
      std::vector<int64_t> tokens;
      for (double x : log_load) tokens.push_back(static_cast<int64_t>(1e6 * std::exp(x)));
      return tokens;
    };
    LayerTask task = UniformTask(load(), 64, 5, 8);
    const SlotTable start = SplitPackFilled(task, static_cast<uint64_t>(layer));
    for (double& x : log_load) x = 0.98 * x + std::sqrt(1 - 0.98 * 0.98) * 0.8 * rng.Normal();
    if (layer % 10 == 0) log_load[17] += std::log(3.0);
    task.load = load();
    RepairOptions options;
    options.writes_max = 8;
    const Repair repair = FlowRepair(task, start, options);
    ASSERT_TRUE(CheckTable(task, repair.table).ok());
    EXPECT_LE(repair.writes, options.writes_max);
    EXPECT_EQ(repair.writes, CountWrites(start, repair.table));
    after += PlacedBound(task, repair.table) / SlotBound(task);
    writes += repair.writes;
  }
  EXPECT_LE(after / kLayers, 1.03);
  EXPECT_LE(writes / kLayers, 6);
}

TEST(FlowRepair, NeverHurtsAndStaysWithinItsWrites) {
  const uint64_t seed = 13;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  int better = 0;
  for (int i = 0; i < 2000; ++i) {
    const LayerTask task = RandomTask(rng, 20, 8, 3);
    const SlotTable current = RandomTable(rng, task);
    RepairOptions options;
    options.writes_max = static_cast<int>(rng.Between(0, 8));
    const Repair repair = FlowRepair(task, current, options);
    ASSERT_TRUE(CheckTable(task, repair.table).ok()) << CheckTable(task, repair.table);
    EXPECT_EQ(repair.writes, CountWrites(current, repair.table));
    EXPECT_LE(repair.writes, options.writes_max);
    if (repair.writes == 0) continue;
    EXPECT_LT(PlacedBound(task, repair.table), PlacedBound(task, current));
    EXPECT_EQ(repair.table, KeepIndices(current, repair.table));
    ++better;
  }
  EXPECT_GT(better, 500);
}

TEST(FlowRepair, DrainsARankAndKeepsEveryExpert) {
  const uint64_t seed = 14;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  for (int i = 0; i < 50; ++i) {
    LayerTask task = UniformTask(LognormalLoad(rng, 32, 0.8), 8, 6, 4);
    const SlotTable before = SplitPackFilled(task, rng.Next());
    task.slots[3] = 0;
    RepairOptions options;
    options.writes_max = 12;
    const Repair repair = FlowRepair(task, before, options);
    ASSERT_TRUE(CheckTable(task, repair.table).ok()) << CheckTable(task, repair.table);
    EXPECT_TRUE(repair.table[3].empty());
    EXPECT_LE(PlacedBound(task, repair.table), 1.1 * SlotBound(task));
  }
}

TEST(FlowRepair, ASlowRankGetsLess) {
  const uint64_t seed = 15;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  double before = 0, after = 0;
  for (int i = 0; i < 20; ++i) {
    LayerTask task = UniformTask(LognormalLoad(rng, 32, 0.8), 16, 3, 8);
    const SlotTable start = SplitPack(task);
    task.speeds[static_cast<size_t>(i % 16)] = 65536 / 2;
    RepairOptions options;
    options.writes_max = 8;
    before += PlacedBound(task, start) / PerfectBound(task) / 20;
    after += PlacedBound(task, FlowRepair(task, start, options).table) / PerfectBound(task) / 20;
  }
  EXPECT_GE(before, 1.1);
  EXPECT_LE(after, 1.02);
}

}  // namespace
}  // namespace ballast
