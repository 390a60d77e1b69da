// The plan every job starts from, and the yardstick of "before": experts and blocks in contiguous runs.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "plan/job_config.h"
#include "plan/layout.h"
#include "plan/plan.h"
#include "plan/topology.h"

namespace ballast {

// Rank g of G holds experts floor(g E / G) .. floor((g+1) E / G) - 1 in slots 0.., other slots empty. When E
// < G, ranks that would be left without an expert have none (they still take part). An expert's blocks live
// at its slot's rank; dense blocks are dealt so that home elements even out. InvalidArgument, naming the
// figures, when ranks * slots_per_rank cannot hold E or a rank's run is longer than slots_per_rank.
absl::StatusOr<PlanBody> ContiguousPlan(const JobConfig& job, const ParameterLayout& layout, int ranks);

// The homes of that plan: [block] -> rank. Depends on nothing but the layout and the number of ranks.
std::vector<Rank> ContiguousHomes(const ParameterLayout& layout, int ranks);

// The rank that holds `expert` under the contiguous placement of E experts on G ranks.
Rank ContiguousRank(int expert, int experts, int ranks);

}  // namespace ballast
