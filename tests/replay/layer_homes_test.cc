#include "replay/layer_homes.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace ballast {
namespace {

// 10 GB/s between nodes and 100 inside one, 1 GB of weights and 6 of state.
const HomeCosts kCosts{1e-10, 1e-11, 1e9, 6e9};

TEST(LayerHomes, SyncByHand) {
  // Two nodes of two ranks; each rank is home to one expert.
  const SlotTable start = {{0}, {1}, {2}, {3}};
  const LayerHomes homes(start, 4, {0, 0, 1, 1}, kCosts);
  EXPECT_EQ(homes.SyncSeconds(start), 0) << "slots at home need no network";
  // A copy in the node: the gradient to the home and weights back, 1 GB at 100 GB/s each.
  EXPECT_NEAR(homes.SyncSeconds({{0}, {1, 0}, {2}, {3}}), 2 * 0.01, 1e-12);
  // Across nodes at 10 GB/s.
  EXPECT_NEAR(homes.SyncSeconds({{0}, {1}, {2, 0}, {3}}), 2 * 0.1, 1e-12);
  // Two away: the home receives two gradients.
  EXPECT_NEAR(homes.SyncSeconds({{0}, {1}, {2, 0}, {3, 0}}), 2 * 0.2, 1e-12);
  // Moved away from its home, with one slot.
  EXPECT_NEAR(homes.SyncSeconds({{3}, {1}, {2}, {0}}), 2 * 0.1, 1e-12);
  // On its home's ranks: reduce-scatter and all-gather, 2 W (r - 1) / r.
  const LayerHomes spread({{0}, {1}, {0}, {2}}, 3, {0, 0, 1, 1}, kCosts);
  EXPECT_NEAR(spread.SyncSeconds({{0}, {1}, {0}, {2}}), 2 * 0.1 / 2, 1e-12);
}

TEST(LayerHomes, FollowWhenTheRentReachesThePrice) {
  const SlotTable start = {{0}, {1}};
  LayerHomes homes(start, 2, {0, 1}, kCosts);
  // Exchanged: every step sends 2 GB out of either rank that homes on the slots would not; state is 6 GB.
  const SlotTable exchanged = {{1}, {0}};
  EXPECT_EQ(homes.Follow(exchanged, 1), 0);
  EXPECT_EQ(homes.Follow(exchanged, 1), 0);
  EXPECT_NEAR(homes.Follow(exchanged, 1), 0.6, 1e-12) << "6 GB in and out of either rank";
  EXPECT_EQ(homes.homes()[0], (ExpertHomes{{1, 1}}));
  EXPECT_EQ(homes.SyncSeconds(exchanged), 0);
  // Rent that was not spent is forgotten when the slots come home.
  EXPECT_EQ(homes.Follow(start, 2), 0);
  EXPECT_EQ(homes.Follow(exchanged, 2), 0);
  EXPECT_EQ(homes.Follow(start, 2), 0);
  EXPECT_EQ(homes.homes()[0], (ExpertHomes{{1, 1}}));
}

TEST(LayerHomes, NoMoveCostsMoreThanTheTrafficItFollows) {
  const uint64_t seed = 91;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  int moves = 0;
  for (int round = 0; round < 200; ++round) {
    // One expert on random ranks of four nodes.
    const auto random = [&] {
      SlotTable table(4);
      for (auto& row : table) {
        if (rng.Chance(0.5)) row.push_back(0);
      }
      if (HostsOf(table, 1)[0].empty()) table[rng.Below(4)].push_back(0);
      return table;
    };
    LayerHomes homes(random(), 1, {0, 1, 2, 3}, kCosts);
    double sync = 0, moved = 0;
    for (int period = 0; period < 10; ++period) {
      const SlotTable table = random();
      for (int step = 0; step < 8; ++step) {
        sync += homes.SyncSeconds(table);
        const double seconds = homes.Follow(table, 1);
        moved += seconds;
        moves += seconds > 0;
        if (seconds > 0) {
          EXPECT_EQ(homes.homes()[0], EvenHomes(HostsOf(table, 1)[0], 0));
        }
      }
      EXPECT_LE(moved, sync * (1 + 1e-9));
    }
  }
  EXPECT_GT(moves, 100);
}

}  // namespace
}  // namespace ballast
