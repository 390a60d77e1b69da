#include "coordinator/planner/schedule/task_order.h"

#include <algorithm>
#include <vector>

#include "base/check.h"

namespace ballast {
namespace {

constexpr double kNearBest = 1.01;

}  // namespace

double GroupedTime(const LayerTasks& tasks, int chunks, bool overlap) {
  BALLAST_CHECK(chunks > 0) << chunks << " chunks";
  const double c = tasks.compress.At(chunks), a = tasks.dispatch.At(chunks), b = tasks.experts.At(chunks),
               x = tasks.combine.At(chunks), f = tasks.decompress.At(chunks);
  if (!overlap) return chunks * (c + a + b + x + f);
  double compute = 0, communication = 0;  // when the streams are free
  std::vector<double> ready(static_cast<size_t>(chunks));
  for (double& end : ready) end = compute += c;
  for (double& end : ready) end = communication = std::max(communication, end) + a;
  for (double& end : ready) end = compute = std::max(compute, end) + b;
  for (double& end : ready) end = communication = std::max(communication, end) + x;
  for (double& end : ready) end = compute = std::max(compute, end) + f;
  return std::max(compute, communication);
}

double ScheduleBound(const LayerTasks& tasks, int chunks) {
  const double c = tasks.compress.At(chunks), a = tasks.dispatch.At(chunks), b = tasks.experts.At(chunks),
               x = tasks.combine.At(chunks), f = tasks.decompress.At(chunks);
  const double one = c + a + b + x + f;
  return std::max({chunks * (c + b + f), c + chunks * (a + x) + f, one});
}

int ChooseChunks(const LayerTasks& tasks, int chunks_max, bool overlap) {
  double best = GroupedTime(tasks, 1, overlap);
  for (int r = 2; r <= chunks_max; ++r) best = std::min(best, GroupedTime(tasks, r, overlap));
  int chosen = 1;
  while (GroupedTime(tasks, chosen, overlap) > kNearBest * best) ++chosen;
  return chosen;
}

}  // namespace ballast
