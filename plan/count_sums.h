// What the split needs of all counts: sums by expert and node, and one hash. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "plan/balance.h"
#include "plan/topology.h"

namespace ballast {

// Reused from call to call, so that nothing is allocated in a loop.
struct CountSums {
  std::vector<int64_t> of_expert;  // [expert] tokens of all ranks
  std::vector<int64_t> of_node;    // [node][expert] tokens of the node's ranks
  uint64_t hash = 0;               // over all counts
  std::vector<uint64_t> keys;      // [expert] of the hash
};

// Reads each count once. InvalidArgument for a row that does not have `experts` counts, a count below 0, and
// when all together are more than kTokensMax; `sums` is of no use then. Requires a row for each rank of
// `topology`.
absl::Status SumCounts(const CountMatrix& counts, int experts, const Topology& topology, CountSums& sums);

}  // namespace ballast
