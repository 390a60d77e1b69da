#include "coordinator/planner/layer/slow_ranks.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace ballast {

void DrainBelow(const std::vector<uint32_t>& speeds, double least, LayerTask& task) {
  std::vector<size_t> slow;
  for (size_t g = 0; g < speeds.size(); ++g) {
    if (speeds[g] < least) slow.push_back(g);
  }
  std::stable_sort(slow.begin(), slow.end(), [&](size_t a, size_t b) { return speeds[a] < speeds[b]; });
  for (size_t g : slow) {
    const int slots = std::exchange(task.slots[g], 0);
    if (CheckTask(task).ok()) continue;
    task.slots[g] = slots;
    return;
  }
}

}  // namespace ballast
