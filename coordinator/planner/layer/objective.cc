#include "coordinator/planner/layer/objective.h"

#include <algorithm>
#include <numeric>

#include "coordinator/planner/layer/bounds.h"
#include "coordinator/planner/layer/node_ports.h"

namespace ballast {
namespace {

// Speed of a healthy rank.
constexpr double kHealthy = 65536;

double SlowdownOf(size_t rank, const std::vector<double>& slowdowns) {
  return slowdowns.empty() ? 1 : slowdowns[rank];
}

std::vector<double> FlatSync(const SlotTable& table, const std::vector<int>& copies,
                             const std::vector<double>& slowdowns) {
  std::vector<double> sync;
  for (const std::vector<int>& row : table) {
    double sum = 0;
    for (int e : row) {
      if (e != kNoExpert) sum += static_cast<double>(copies[e] - 1) / copies[e];
    }
    sync.push_back(sum * SlowdownOf(sync.size(), slowdowns));
  }
  return sync;
}

double Most(const std::vector<double>& values) {
  return values.empty() ? 0 : *std::max_element(values.begin(), values.end());
}

CostParts LoadAndPort(const LayerTask& task, const SlotTable& table, const LayerCosts& costs) {
  CostParts parts;
  parts.load = costs.load * kHealthy * PlacedBound(task, table);
  parts.port = costs.ports.port > 0 ? costs.ports.port * BusiestPort(task, table, costs.ports) : 0;
  return parts;
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

double SyncSlots(const SlotTable& table, int experts, const std::vector<double>& slowdowns) {
  return Most(FlatSync(table, CopiesOf(table, experts), slowdowns));
}

double SyncOf(const LayerTask& task, const SlotTable& table, const LayerCosts& costs) {
  if (costs.homes == nullptr) {
    return costs.sync > 0 ? costs.sync * SyncSlots(table, task.experts(), costs.ports.slowdowns) : 0;
  }
  return Most(SyncOfRanks(table, FollowedHomes(table, *costs.homes, task.node_of_rank, costs.life),
                          task.node_of_rank, costs.homes->costs));
}

CostParts PartsOf(const LayerTask& task, const SlotTable& table, const LayerCosts& costs) {
  CostParts parts = LoadAndPort(task, table, costs);
  parts.sync = SyncOf(task, table, costs);
  return parts;
}

double Objective(const LayerTask& task, const SlotTable& table, const LayerCosts& costs) {
  return PartsOf(task, table, costs).total();
}

double BusiestWrites(const SlotTable& from, const SlotTable& to, const std::vector<double>& slowdowns) {
  double most = 0;
  for (size_t g = 0; g < to.size(); ++g) {
    int writes = 0;
    for (int e : to[g]) writes += e != kNoExpert && !Holds(from[g], e);
    most = std::max(most, writes * SlowdownOf(g, slowdowns));
  }
  return most;
}

double SwitchCost(const LayerTask& task, const SlotTable& from, const SlotTable& to,
                  const LayerCosts& costs) {
  if (costs.homes == nullptr) return costs.write * BusiestWrites(from, to, costs.ports.slowdowns);
  return MoveCost(costs.homes->homes, FollowedHomes(to, *costs.homes, task.node_of_rank, costs.life),
                  task.node_of_rank, costs.homes->costs);
}

LayerCandidate Weighed(const LayerTask& task, const SlotTable& current, const std::string& name,
                       const SlotTable& table, const CostParts& cost) {
  LayerCandidate candidate;
  candidate.name = name;
  const double perfect = PerfectBound(task);
  candidate.imbalance = perfect > 0 ? PlacedBound(task, table) / perfect : 1;
  candidate.cost = cost.total();
  candidate.load_cost = cost.load;
  candidate.sync_cost = cost.sync;
  candidate.port_cost = cost.port;
  candidate.moves_cost = cost.moves;
  candidate.slot_writes = CountWrites(current, table);
  return candidate;
}

CostParts WeighParts(const LayerTask& task, const std::vector<std::vector<int64_t>>& measured,
                     size_t measured_max, const SlotTable& current, const SlotTable& table,
                     const LayerCosts& costs) {
  CostParts sum = LoadAndPort(task, table, costs);
  int count = 1;
  if (measured_max > 0) {
    LayerTask other = task;
    for (size_t i = 0; i < std::min(measured.size(), measured_max); ++i) {
      other.load = measured[i];
      const double total = static_cast<double>(other.total_load());
      if (total == 0) continue;
      LayerCosts scaled = costs;
      scaled.load *= static_cast<double>(task.total_load()) / total;
      scaled.ports.port *= static_cast<double>(task.total_load()) / total;
      const CostParts parts = LoadAndPort(other, table, scaled);
      sum.load += parts.load;
      sum.port += parts.port;
      ++count;
    }
  }
  return {sum.load / count, SyncOf(task, table, costs), sum.port / count,
          SwitchCost(task, current, table, costs) / costs.life};
}

SlotTable DropCostly(const LayerTask& task, SlotTable table, const LayerCosts& costs,
                     const std::function<double(const SlotTable&)>& cost, int64_t& evaluations) {
  double best = cost(table);
  while (evaluations > 0) {
    const std::vector<int> copies = CopiesOf(table, task.experts());
    std::vector<ExpertHomes> homes;
    if (costs.homes) homes = FollowedHomes(table, *costs.homes, task.node_of_rank, costs.life);
    const std::vector<double> sync = costs.homes
                                         ? SyncOfRanks(table, homes, task.node_of_rank, costs.homes->costs)
                                         : FlatSync(table, copies, costs.ports.slowdowns);
    const double most = Most(sync);
    const auto pays_most = [&](size_t g) { return sync[g] >= most * (1 - 1e-9); };
    // A copy far away costs the homes of its expert too.
    const auto far_matters = [&](int e) {
      return costs.homes && std::any_of(homes[e].begin(), homes[e].end(), [&](const HomeShare& home) {
               return pays_most(static_cast<size_t>(home.rank));
             });
    };
    std::vector<size_t> order(table.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return sync[a] > sync[b]; });
    // Ranks that pay as much as the most do stand in each other's way; all of them are tried.
    size_t best_rank = 0, best_index = 0;
    bool found = false;
    for (size_t g : order) {
      for (size_t i = 0; i < table[g].size() && evaluations > 0; ++i) {
        const int e = table[g][i];
        if (e == kNoExpert || copies[e] == 1 || !(pays_most(g) || far_matters(e))) continue;
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
