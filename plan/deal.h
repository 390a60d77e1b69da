// Whose tokens go where: each expert's quotas dealt to the sources of its tokens.
#pragma once

#include <vector>

#include "base/ids.h"
#include "plan/balance.h"
#include "plan/plan.h"
#include "plan/split.h"
#include "plan/topology.h"

namespace ballast {

// A source's own host takes its tokens first, then hosts of its node, the rest goes in proportion to what
// sources still have and hosts still take. Shares sum to the counts by source and to the quotas by host. By
// rising (source, expert, host). Requires counts[source][expert], hosts (rising, all with a slot in `layer`)
// and quotas by expert, and quotas that sum to the counts. Integers alone, in a fixed order.
std::vector<Share> DealShares(const CountMatrix& counts, const LayerPlan& layer,
                              const std::vector<std::vector<Rank>>& hosts, const Quotas& quotas,
                              const Topology& topology);

}  // namespace ballast
