// The gathered counts: what every rank knows of every other one's routing.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "plan/split.h"
#include "worker/backend/growing_buffer.h"
#include "worker/moe/moe_context.h"

namespace ballast {

// `own`, the counts of this rank by expert, is memory of the backend; into [rank][expert] assignments. One
// all-gather of 8 bytes per expert and rank. The stream is then synchronized. `host` keeps its memory from
// call to call and must live as long as the stream.
absl::StatusOr<CountMatrix> GatherCounts(const MoeContext& context, const int64_t* own, int experts,
                                         GrowingBuffer& buffer, std::vector<int64_t>& host);

}  // namespace ballast
