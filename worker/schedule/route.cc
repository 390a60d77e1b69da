#include "worker/schedule/all_to_all.h"

namespace ballast {

Route MakeRoute(const Split& split, const LayerPlan& layer) {
  Route route;
  const int ranks = static_cast<int>(layer.slots.size());
  route.ranks = ranks;
  route.hash = split.hash;
  route.source_rows.assign(ranks, 0);
  route.host_rows.assign(ranks, 0);
  route.slot_rows.resize(ranks);
  for (int r = 0; r < ranks; ++r) route.slot_rows[r].assign(layer.slots[r].size(), 0);

  // A source's order is (expert, canonical order), and an expert's shares are runs of it.
  route.segments.reserve(split.shares.size());
  for (const Share& share : split.shares) {
    int64_t& sent = route.source_rows[share.source.index()];
    route.segments.push_back({.source = share.source,
                              .host = share.host,
                              .slot = share.slot,
                              .expert = share.expert,
                              .rows = share.count,
                              .source_offset = sent,
                              .host_offset = 0});
    sent += share.count;
    route.slot_rows[share.host.index()][share.slot] += share.count;
    route.host_rows[share.host.index()] += share.count;
  }

  // A host's order is (slot, source): the segments come by rising source already.
  std::vector<size_t> first;  // [rank] where its slots begin in `next`
  std::vector<int64_t> next;
  for (int r = 0; r < ranks; ++r) {
    first.push_back(next.size());
    int64_t offset = 0;
    for (int64_t rows : route.slot_rows[r]) {
      next.push_back(offset);
      offset += rows;
    }
  }
  for (RouteSegment& segment : route.segments) {
    int64_t& offset = next[first[segment.host.index()] + static_cast<size_t>(segment.slot)];
    segment.host_offset = offset;
    offset += segment.rows;
  }
  return route;
}

}  // namespace ballast
