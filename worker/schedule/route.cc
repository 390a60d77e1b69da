#include "base/check.h"
#include "worker/schedule/all_to_all.h"

namespace ballast {

Route MakeRoute(const Split& split, const LayerPlan& layer, int experts) {
  Route route;
  const int ranks = static_cast<int>(layer.slots.size());
  BALLAST_CHECK(static_cast<int>(split.shares.size()) == ranks)
      << split.shares.size() << " sources, " << ranks << " ranks";
  route.ranks = ranks;
  route.hash = split.hash;
  route.source_rows.assign(ranks, 0);
  route.host_rows.assign(ranks, 0);
  route.slot_rows.resize(ranks);
  for (int r = 0; r < ranks; ++r) route.slot_rows[r].assign(layer.slots[r].size(), 0);

  // A source's order is (expert, canonical order), and an expert's shares are runs of it.
  for (int source = 0; source < ranks; ++source) {
    for (int expert = 0; expert < experts; ++expert) {
      for (const Share& share : split.shares[source][expert]) {
        route.segments.push_back({.source = Rank(source),
                                  .host = share.host,
                                  .slot = share.slot,
                                  .expert = ExpertId(expert),
                                  .rows = share.count,
                                  .source_offset = route.source_rows[source],
                                  .host_offset = 0});
        route.source_rows[source] += share.count;
        route.slot_rows[share.host.index()][share.slot] += share.count;
        route.host_rows[share.host.index()] += share.count;
      }
    }
  }

  // A host's order is (slot, source): the segments come by rising source already.
  std::vector<std::vector<int64_t>> next(ranks);
  for (int r = 0; r < ranks; ++r) {
    int64_t offset = 0;
    for (int64_t rows : route.slot_rows[r]) {
      next[r].push_back(offset);
      offset += rows;
    }
  }
  for (RouteSegment& segment : route.segments) {
    int64_t& offset = next[segment.host.index()][segment.slot];
    segment.host_offset = offset;
    offset += segment.rows;
  }
  return route;
}

}  // namespace ballast
