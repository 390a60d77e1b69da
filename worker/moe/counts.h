// The gathered counts: what every rank knows of every other one's routing.
#pragma once

#include "absl/status/statusor.h"
#include "plan/split.h"
#include "worker/backend/growing_buffer.h"
#include "worker/moe/moe_context.h"

namespace ballast {

// [rank][expert] assignments, from each rank's own; one all-gather of 8 bytes per expert and rank.
absl::StatusOr<CountMatrix> GatherCounts(const MoeContext& context, const std::vector<int64_t>& own,
                                         GrowingBuffer& buffer);

}  // namespace ballast
