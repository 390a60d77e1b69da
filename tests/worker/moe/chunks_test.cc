#include "worker/moe/chunks.h"

#include <gtest/gtest.h>

#include <set>

namespace ballast {
namespace {

// Two ranks with three slots each; every slot gets rows from both ranks.
Route SomeRoute() {
  Route route{.ranks = 2,
              .segments = {},
              .source_rows = {12, 12},
              .host_rows = {12, 12},
              .slot_rows = {{4, 4, 4}, {4, 4, 4}}};
  for (int source = 0; source < 2; ++source) {
    for (int host = 0; host < 2; ++host) {
      for (int slot = 0; slot < 3; ++slot) {
        route.segments.push_back({.source = Rank(source),
                                  .host = Rank(host),
                                  .slot = slot,
                                  .expert = ExpertId(host * 3 + slot),
                                  .rows = 2,
                                  .source_offset = (host * 3 + slot) * 2,
                                  .host_offset = slot * 4 + source * 2});
      }
    }
  }
  return route;
}

TEST(Chunks, EverySegmentIsInOneChunkAndASlotIsNeverDivided) {
  const Route route = SomeRoute();
  for (int chunks = 1; chunks <= 5; ++chunks) {
    const std::vector<Route> cut = CutIntoChunks(route, chunks);
    EXPECT_EQ(cut.size(), static_cast<size_t>(std::min(chunks, 3)));
    size_t segments = 0;
    int next_slot = 0;
    std::set<std::pair<int, int>> seen;  // (host, slot)
    for (const Route& chunk : cut) {
      EXPECT_FALSE(chunk.segments.empty());
      std::set<std::pair<int, int>> here;
      for (const RouteSegment& s : chunk.segments) here.insert({s.host.value(), s.slot});
      for (const auto& slot : here) EXPECT_TRUE(seen.insert(slot).second) << "slot in two chunks";
      segments += chunk.segments.size();
      std::set<int> slots;
      for (const auto& [host, slot] : here) slots.insert(slot);
      EXPECT_EQ(*slots.begin(), next_slot) << "parts are runs of slots";
      next_slot = *slots.rbegin() + 1;
      EXPECT_EQ(static_cast<int>(slots.size()), next_slot - *slots.begin());
      EXPECT_EQ(chunk.source_rows, route.source_rows);
      EXPECT_EQ(chunk.host_rows, route.host_rows);
    }
    EXPECT_EQ(segments, route.segments.size());
  }
}

TEST(Chunks, WithoutSlotsThereIsOne) {
  Route route{.ranks = 2, .segments = {}, .source_rows = {0, 0}, .host_rows = {0, 0}, .slot_rows = {{}, {}}};
  EXPECT_EQ(CutIntoChunks(route, 4).size(), 1u);
}

}  // namespace
}  // namespace ballast
