// Plans that move slots and homes about in mid-run.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/job_config.h"
#include "plan/plan.h"

namespace ballast {

struct PlanScript {
  std::vector<PlanPtr> plans;  // versions 2, 3, ..
  int with_home_moves = 0;
  int slot_writes = 0;
};

// `count` plans on `ranks` ranks, each of which a rank would accept after the one before; version v not
// before step 4 (v - 1). Every third one, from version 3 on, moves homes as well: experts' to their slots,
// and dense blocks around.
PlanScript MakePlans(const JobConfig& job, int ranks, int count, bool replicate, uint64_t seed);

}  // namespace ballast
