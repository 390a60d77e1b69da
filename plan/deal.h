// Whose tokens go where: each expert's quotas dealt to the sources of its tokens.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/balance.h"
#include "plan/copies.h"
#include "plan/split.h"
#include "plan/topology.h"

namespace ballast {

// A source's own host takes its tokens first, then hosts of its node, the rest goes in proportion to what
// sources still have and hosts still take. All shares sum to the counts by source and to the quotas by host.
// Only those are made whose source or host is `wanted` ([rank], 0 or 1): every rank that makes its own gets
// the same numbers as one that makes all. By rising (source, expert, host); none is 0. Requires
// counts[source][expert], copies with slots, quotas by copy that sum to the counts. Integers alone, in a
// fixed order.
std::vector<Share> DealShares(const CountMatrix& counts, const Copies& copies,
                              const std::vector<int64_t>& quotas, const Topology& topology,
                              const std::vector<char>& wanted);

}  // namespace ballast
