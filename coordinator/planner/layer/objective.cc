#include "coordinator/planner/layer/objective.h"

#include <algorithm>
#include <numeric>

#include "coordinator/planner/layer/bounds.h"
#include "coordinator/planner/layer/node_ports.h"

namespace ballast {
namespace {

// Speed of a healthy rank.
constexpr double kHealthy = 65536;

std::vector<double> SyncOfRanks(const SlotTable& table, const std::vector<int>& copies) {
  std::vector<double> sync;
  for (const std::vector<int>& row : table) {
    double sum = 0;
    for (int e : row) {
      if (e != kNoExpert) sum += static_cast<double>(copies[e] - 1) / copies[e];
    }
    sync.push_back(sum);
  }
  return sync;
}

}  // namespace

LayerCosts RelativeCosts(const LayerTask& task, double sync, double write) {
  LayerCosts costs;
  const double balanced = PerfectBound(task) * kHealthy;
  costs.load = balanced > 0 ? 1 / balanced : 0;
  costs.sync = sync;
  costs.write = write;
  return costs;
}

double SyncSlots(const SlotTable& table, int experts) {
  const std::vector<double> sync = SyncOfRanks(table, CopiesOf(table, experts));
  return sync.empty() ? 0 : *std::max_element(sync.begin(), sync.end());
}

double Objective(const LayerTask& task, const SlotTable& table, const LayerCosts& costs) {
  const double port = costs.port > 0 ? costs.port * BusiestPort(task, table, costs.port_slowdowns) : 0;
  return costs.load * kHealthy * PlacedBound(task, table) + costs.sync * SyncSlots(table, task.experts()) +
         port;
}

int BusiestWrites(const SlotTable& from, const SlotTable& to) {
  int most = 0;
  for (size_t g = 0; g < to.size(); ++g) {
    int writes = 0;
    for (int e : to[g]) writes += e != kNoExpert && !Holds(from[g], e);
    most = std::max(most, writes);
  }
  return most;
}

LayerCandidate Weighed(const LayerTask& task, const SlotTable& current, const std::string& name,
                       const SlotTable& table, double cost) {
  LayerCandidate candidate;
  candidate.name = name;
  const double perfect = PerfectBound(task);
  candidate.imbalance = perfect > 0 ? PlacedBound(task, table) / perfect : 1;
  candidate.cost = cost;
  candidate.slot_writes = CountWrites(current, table);
  return candidate;
}

double MeanObjective(const LayerTask& task, const std::vector<std::vector<int64_t>>& measured,
                     size_t measured_max, const SlotTable& table, const LayerCosts& costs) {
  double sum = Objective(task, table, costs);
  if (measured_max == 0) return sum;
  int count = 1;
  LayerTask other = task;
  for (size_t i = 0; i < std::min(measured.size(), measured_max); ++i) {
    other.load = measured[i];
    const double total = static_cast<double>(other.total_load());
    if (total == 0) continue;
    LayerCosts scaled = costs;
    scaled.load *= static_cast<double>(task.total_load()) / total;
    scaled.port *= static_cast<double>(task.total_load()) / total;
    sum += Objective(other, table, scaled);
    ++count;
  }
  return sum / count;
}

SlotTable DropCostly(const LayerTask& task, SlotTable table,
                     const std::function<double(const SlotTable&)>& cost, int64_t& evaluations) {
  double best = cost(table);
  while (evaluations > 0) {
    const std::vector<int> copies = CopiesOf(table, task.experts());
    const std::vector<double> sync = SyncOfRanks(table, copies);
    std::vector<size_t> order(table.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return sync[a] > sync[b]; });
    // Ranks that pay as much as the most do stand in each other's way; all of them are tried.
    size_t best_rank = 0, best_index = 0;
    bool found = false;
    for (size_t g : order) {
      if (sync[g] < sync[order[0]] - 1e-9) break;
      for (size_t i = 0; i < table[g].size() && evaluations > 0; ++i) {
        const int e = table[g][i];
        if (e == kNoExpert || copies[e] == 1) continue;
        table[g][i] = kNoExpert;
        --evaluations;
        const double value = cost(table);
        table[g][i] = e;
        // Equal J: one copy less is still one copy less to pay for elsewhere.
        if (value > best + 1e-12 * best || (found && value >= best)) continue;
        best = std::min(best, value);
        best_rank = g;
        best_index = i;
        found = true;
      }
    }
    if (!found) break;
    table[best_rank][best_index] = kNoExpert;
  }
  return table;
}

}  // namespace ballast
