#include "worker/moe/chunks.h"

#include <algorithm>
#include <utility>

#include "base/math.h"

namespace ballast {

std::vector<Route> CutIntoChunks(Route route, int chunks) {
  int64_t slots = 1;
  for (const auto& rows : route.slot_rows) slots = std::max(slots, static_cast<int64_t>(rows.size()));
  const int64_t parts = std::clamp<int64_t>(chunks, 1, slots);
  std::vector<Route> cut;
  if (parts == 1) {
    cut.push_back(std::move(route));
    return cut;
  }
  const std::vector<RouteSegment> segments = std::exchange(route.segments, {});
  cut.assign(parts, route);
  for (const RouteSegment& segment : segments) {
    int64_t part = parts - 1;
    while (segment.slot < PartBegin(slots, parts, part)) --part;
    cut[part].segments.push_back(segment);
  }
  return cut;
}

}  // namespace ballast
