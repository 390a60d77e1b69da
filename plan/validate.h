// What a plan must satisfy before a rank promises to run it. A plan is hostile input: nothing in it is
// trusted.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "plan/layout.h"
#include "plan/plan.h"

namespace ballast {

// The bounds a generation has fixed.
struct PlanLimits {
  int ranks = 0;
  int slots_per_rank = 0;
  int64_t home_elements_per_rank = 0;  // home capacity of a rank, in parameters
  int64_t home_move_bytes_max = 0;     // bytes that may enter or leave one rank's homes in one plan
  int chunks_max = 8;
  std::vector<std::string> all_to_alls;  // known names
  std::vector<std::string> compressors;  // known names
  std::vector<std::string> task_orders;  // known names
};

// The limits of a job on `ranks` ranks, defaults filled in (room for the contiguous plan, for one block per
// move); names are those this build knows.
PlanLimits LimitsFor(const JobConfig& job, const ParameterLayout& layout, int ranks);

// OK, or InvalidArgument that names layer, rank, slot or block, the value found and what is allowed:
// sizes match ranks, layers and blocks; every expert has a slot in every layer, at most one on a rank;
// experts, ranks, names, speeds and fractions are in range; home capacity holds.
absl::Status ValidatePlan(const PlanBody& body, const ParameterLayout& layout, const PlanLimits& limits);

// OK, or InvalidArgument: both are valid plans, and `next` may follow `current` in one switch. An expert that
// stays on a rank keeps its slot index, and the bytes of home moves into and out of every rank are within
// home_move_bytes_max.
absl::Status ValidateTransition(const PlanBody& current, const PlanBody& next, const ParameterLayout& layout,
                                const PlanLimits& limits);

}  // namespace ballast
