#include "coordinator/planner/layer/exchange.h"

#include <algorithm>
#include <numeric>

namespace ballast {

SlotTable LongestFirst(const LayerTask& task, const SlotTable* keep) {
  std::vector<int> order(task.load.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return task.load[a] > task.load[b]; });
  SlotTable table = EmptyTable(task);
  std::vector<double> load(table.size(), 0);
  std::vector<size_t> used(table.size(), 0);
  for (int e : order) {
    int best = -1;
    double best_load = 0;
    bool best_kept = false;
    for (int g = 0; g < task.ranks(); ++g) {
      if (used[g] == table[g].size()) continue;
      const double after = (load[g] + static_cast<double>(task.load[e])) / task.speeds[g];
      const bool kept = keep && Holds((*keep)[g], e);
      if (best >= 0 && (after > best_load || (after == best_load && (best_kept || !kept)))) continue;
      best = g;
      best_load = after;
      best_kept = kept;
    }
    table[best][used[best]++] = e;
    load[best] += static_cast<double>(task.load[e]);
  }
  return table;
}

SlotTable Exchange(const LayerTask& task, SlotTable table, const ExchangeOptions& options) {
  std::vector<double> load(table.size(), 0);
  for (size_t g = 0; g < table.size(); ++g) {
    for (int e : table[g]) load[g] += e == kNoExpert ? 0 : static_cast<double>(task.load[e]);
  }
  auto weight = [&](int e) { return e == kNoExpert ? 0 : static_cast<double>(task.load[e]); };
  int writes = 0;
  int64_t evaluations = 0;
  while (true) {
    size_t top = table.size();
    for (size_t g = 0; g < table.size(); ++g) {
      if (!table[g].empty() &&
          (top == table.size() || load[g] / task.speeds[g] > load[top] / task.speeds[top]))
        top = g;
    }
    const double most = load[top] / task.speeds[top];
    double best = most * (1 - options.min_gain);
    size_t best_rank = 0, best_i = 0, best_j = 0;
    bool found = false;
    for (size_t g = 0; g < table.size(); ++g) {
      if (g == top) continue;
      for (size_t i = 0; i < table[top].size(); ++i) {
        const int a = table[top][i];
        if (a == kNoExpert || Holds(table[g], a)) continue;
        for (size_t j = 0; j < table[g].size(); ++j) {
          const int b = table[g][j];
          if (++evaluations > options.evaluations_max) return table;
          if (weight(a) <= weight(b) || writes + (b == kNoExpert ? 1 : 2) > options.writes_max ||
              (b != kNoExpert && Holds(table[top], b))) {
            continue;
          }
          const double delta = weight(a) - weight(b);
          const double larger =
              std::max((load[top] - delta) / task.speeds[top], (load[g] + delta) / task.speeds[g]);
          if (larger >= best) continue;
          best = larger;
          best_rank = g;
          best_i = i;
          best_j = j;
          found = true;
        }
      }
    }
    if (!found) return table;
    int& a = table[top][best_i];
    int& b = table[best_rank][best_j];
    writes += b == kNoExpert ? 1 : 2;
    const double delta = weight(a) - weight(b);
    load[top] -= delta;
    load[best_rank] += delta;
    std::swap(a, b);
  }
}

}  // namespace ballast
