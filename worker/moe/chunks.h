// Cutting one layer's exchange into chunks. Pure.
#pragma once

#include <vector>

#include "worker/schedule/all_to_all.h"

namespace ballast {

// The route's segments in `chunks` parts by slot index: part c holds the slots PartBegin(slots, chunks, c) ..
// of every rank. Offsets and totals stay those of the whole, so all parts move rows between the same two
// matrices. An expert's rows are never divided, so neither the order inside an expert nor the sum of its
// weight gradient depends on the number of chunks. No more parts than a rank has slots, and at least one; the
// same number on all ranks.
std::vector<Route> CutIntoChunks(Route route, int chunks);

}  // namespace ballast
