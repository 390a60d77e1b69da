// The order in which a rank's assignments travel: by expert, then token, then k.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/types.h"

namespace ballast::kernels {

size_t SortAssignmentsScratchBytes(int64_t assignments, int experts);

// chosen [assignments] in 0..experts - 1, experts at most kRouterExpertsMax (router.h); assignment i is of
// token i / top_k. counts [experts]; token_of [row]; row_of [assignment].
void SortAssignments(int64_t assignments, int top_k, int experts, const int32_t* chosen, int64_t* counts,
                     int64_t* token_of, int64_t* row_of, void* scratch, Stream stream);

}  // namespace ballast::kernels
