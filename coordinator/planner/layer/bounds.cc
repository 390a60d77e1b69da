#include "coordinator/planner/layer/bounds.h"

#include <algorithm>
#include <cstddef>
#include <functional>

namespace ballast {
namespace {

// [r] -> the sum of the r greatest speeds of ranks that have slots, as doubles; [0] is 0.
std::vector<double> SpeedSums(const LayerTask& task) {
  std::vector<uint32_t> speeds;
  for (int g = 0; g < task.ranks(); ++g) {
    if (task.slots[g] > 0) speeds.push_back(task.speeds[g]);
  }
  if (!std::is_sorted(speeds.begin(), speeds.end(), std::greater<>()))
    std::sort(speeds.begin(), speeds.end(), std::greater<>());
  std::vector<double> sums{0};
  sums.reserve(speeds.size() + 1);
  for (uint32_t speed : speeds) sums.push_back(sums.back() + speed);
  return sums;
}

// Copies that are counted up to one by one.
constexpr std::ptrdiff_t kFew = 4;

bool CopiesFit(const LayerTask& task, const std::vector<double>& sums, int64_t places, double bound) {
  int64_t needed = 0;
  for (int64_t load : task.load) {
    const double speed = static_cast<double>(load) / bound;
    // Rounding must not ask for one copy more than is needed.
    const double least = speed * (1 - 1e-12);
    // Most need one or two.
    auto it = sums.begin() + 1;
    while (it != sums.end() && it - sums.begin() < kFew && *it < least) ++it;
    if (it - sums.begin() == kFew) it = std::lower_bound(it, sums.end(), least);
    if (it == sums.end()) return false;
    needed += it - sums.begin();
    if (needed > places) return false;
  }
  return true;
}

}  // namespace

double PerfectBound(const LayerTask& task) {
  return static_cast<double>(task.total_load()) / static_cast<double>(task.usable_speed());
}

double SlotBound(const LayerTask& task) {
  const std::vector<double> sums = SpeedSums(task);
  int64_t places = 0;
  for (int slots : task.slots) places += std::min(slots, task.experts());
  double low = PerfectBound(task);
  if (low == 0 || CopiesFit(task, sums, places, low)) return low;
  double high = static_cast<double>(task.total_load()) / sums[1];  // everything on the fastest rank
  for (int i = 0; i < 60 && high - low > 1e-12 * high; ++i) {
    const double middle = (low + high) / 2;
    (CopiesFit(task, sums, places, middle) ? high : low) = middle;
  }
  return low;
}

double NoReplicaBound(const LayerTask& task) {
  const std::vector<double> sums = SpeedSums(task);
  std::vector<int64_t> load = task.load;
  std::sort(load.begin(), load.end(), std::greater<>());
  std::vector<double> prefix{0};
  for (int64_t w : load) prefix.push_back(prefix.back() + static_cast<double>(w));
  const size_t ranks = sums.size() - 1;
  double bound = PerfectBound(task);
  for (size_t k = 0; k * ranks < load.size(); ++k) {
    const size_t last = k * ranks + 1;  // of these largest, the k + 1 smallest
    bound = std::max(bound, (prefix[last] - prefix[last - k - 1]) / sums[1]);
  }
  return bound;
}

}  // namespace ballast
