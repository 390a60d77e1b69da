// Assignments of each expert in the benchmarks that route nothing.
#pragma once

#include <cstdint>
#include <vector>

#include "bench/layer_case/layer_case.h"

namespace ballast::bench {

// Of `assignments` in all, expert e has the share of its weight: 1 when balanced, 1 / (e + 1) for zipf, e^3
// to 1 for the first half of the experts when a rank is hot. What the division leaves goes to the first
// experts, one each. Made alike in bench/baselines/expert_rows.py.
std::vector<int64_t> ExpertRows(const LayerCase& c, int64_t assignments);

}  // namespace ballast::bench
