// Which ranks are too slow to hold experts.
#pragma once

#include <cstdint>
#include <vector>

#include "coordinator/planner/layer/layer_task.h"

namespace ballast {

// Takes the slots of ranks whose speed ([rank], parts per 2^16 of a healthy one) is below `least`, the
// slowest first, as long as the others can hold all experts.
void DrainBelow(const std::vector<uint32_t>& speeds, double least, LayerTask& task);

}  // namespace ballast
