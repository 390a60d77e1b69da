// Rows of each expert of rank 0 in the grouped-product benchmark.
#pragma once

#include <cstdint>
#include <vector>

#include "bench/moe_layer/layer_case.h"

namespace ballast::bench {

// Of the tokens * top_k * ranks assignments of a layer, expert e has the share of its weight: 1 when
// balanced, 1 / (e + 1) for zipf, e^3 to 1 for the first half of the experts when a rank is hot. Whole rows,
// the rest of the division going to the first experts; made alike in bench/baselines/torch_grouped_mm.py.
std::vector<int64_t> GroupRows(const LayerCase& c, int ranks);

}  // namespace ballast::bench
