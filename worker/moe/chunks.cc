#include "worker/moe/chunks.h"

#include <algorithm>

#include "base/math.h"

namespace ballast {

std::vector<Route> CutIntoChunks(const Route& route, int chunks) {
  int64_t slots = 1;
  for (const auto& rows : route.slot_rows) slots = std::max(slots, static_cast<int64_t>(rows.size()));
  const int64_t parts = std::clamp<int64_t>(chunks, 1, slots);
  if (parts == 1) return {route};

  Route empty = route;
  empty.segments.clear();
  std::vector<Route> cut(parts, empty);
  for (const RouteSegment& segment : route.segments) {
    int64_t part = parts - 1;
    while (segment.slot < PartBegin(slots, parts, part)) --part;
    cut[part].segments.push_back(segment);
  }
  return cut;
}

}  // namespace ballast
