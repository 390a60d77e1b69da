#include "coordinator/planner/layer/flow_repair.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "coordinator/planner/layer/bounds.h"
#include "coordinator/planner/layer/exchange.h"
#include "coordinator/planner/layer/slot_flow.h"
#include "coordinator/planner/layer/slot_repairer.h"

namespace ballast {
namespace {

// What cannot be reached with few writes is aimed at from further away: headrooms, in units of the wanted
// one.
constexpr double kRetries[] = {1, 2, 4};

bool HasShape(const LayerTask& task, const SlotTable& table) {
  for (int g = 0; g < task.ranks(); ++g) {
    if (table[g].size() != static_cast<size_t>(task.slots[g])) return false;
  }
  return true;
}

// Rows cut or lengthened to the shape of the task.
SlotTable Shaped(const LayerTask& task, SlotTable table) {
  for (int g = 0; g < task.ranks(); ++g) table[g].resize(static_cast<size_t>(task.slots[g]), kNoExpert);
  return table;
}

std::vector<int> Homeless(const std::vector<int>& copies) {
  std::vector<int> homeless;
  for (size_t e = 0; e < copies.size(); ++e) {
    if (copies[e] == 0) homeless.push_back(static_cast<int>(e));
  }
  return homeless;
}

// `table` with every expert held somewhere. `homeless`: those that are not.
SlotTable Complete(const LayerTask& task, SlotTable table, std::vector<int> homeless) {
  std::vector<int> copies = CopiesOf(table, task.experts());
  std::vector<int64_t> load(table.size(), 0);
  for (size_t g = 0; g < table.size(); ++g) {
    for (int e : table[g]) load[g] += e == kNoExpert ? 0 : task.load[e] / copies[e];
  }
  std::stable_sort(homeless.begin(), homeless.end(),
                   [&](int a, int b) { return task.load[a] > task.load[b]; });
  for (int e : homeless) {
    // An empty slot, else the one of the least load among experts with other copies.
    int rank = -1, index = -1;
    double best = 0;
    for (int g = 0; g < task.ranks(); ++g) {
      for (size_t i = 0; i < table[g].size(); ++i) {
        const int held = table[g][i];
        if (held != kNoExpert && copies[held] < 2) continue;
        const double freed = held == kNoExpert ? 0 : static_cast<double>(task.load[held]) / copies[held];
        const double total = static_cast<double>(task.total_load());
        const double score = static_cast<double>(load[g]) / task.speeds[g] +
                             (held == kNoExpert ? 0 : (total + freed) / task.speeds[g]);
        if (rank >= 0 && score >= best) continue;
        rank = g;
        index = static_cast<int>(i);
        best = score;
      }
    }
    int& held = table[rank][index];
    if (held != kNoExpert) {
      load[rank] -= task.load[held] / copies[held];
      --copies[held];
    }
    held = e;
    copies[e] = 1;
    load[rank] += task.load[e];
  }
  return table;
}

// Whether the placement of now is better than the best before it, whose bound is `least`; where that is not
// known, it is the one before the changes of `flow`, which was short of room under `bound`, the flow's. Sets
// `least` where it is asked for.
bool IsBetter(const LayerTask& task, const SlotFlow& flow, double bound, std::optional<double>& least) {
  if (flow.unrouted() == 0) {
    // Everything fits under what did not hold everything before.
    if (!least || *least > bound * (1 + 1e-9)) return true;
    return PlacedBound(task, flow.hosts()) < *least;
  }
  SlotFlow probe = flow;
  if (!least) {
    probe.Undo(0);
    least = probe.RaiseUntilRouted();
    probe = flow;
  }
  const double now = probe.RaiseUntilRouted(*least);
  if (now >= *least) return false;
  least = now;
  return true;
}

struct Written {
  int rank = 0;
  int index = 0;
  int expert = 0;
};

// By rising rank.
std::vector<Written> WrittenSince(const SlotFlow& flow) {
  std::vector<Written> written;
  for (const auto& [rank, index] : flow.written()) written.push_back({rank, index, flow.held(rank, index)});
  std::stable_sort(written.begin(), written.end(),
                   [](const Written& a, const Written& b) { return a.rank < b.rank; });
  return written;
}

}  // namespace

Repair FlowRepair(const LayerTask& task, const SlotTable& current, const RepairOptions& options) {
  // Tables of many ranks are dear to make: none is made before it is needed.
  SlotTable shaped, completed;
  if (!HasShape(task, current)) shaped = Shaped(task, current);
  const SlotTable& base = shaped.empty() ? current : shaped;
  std::vector<int> homeless = Homeless(CopiesOf(base, task.experts()));
  if (!homeless.empty()) completed = Complete(task, base, std::move(homeless));
  const SlotTable& start = completed.empty() ? base : completed;
  Repair result;
  const auto finish = [&](const SlotTable& table) {
    // An expert that left and came back is where it was.
    result.table = KeepIndices(base, table);
    result.writes = CountWrites(current, result.table);
    return std::move(result);
  };
  const int64_t total = task.total_load();
  if (total == 0) return finish(start);
  const double average =
      static_cast<double>(total) /
      static_cast<double>(std::count_if(task.slots.begin(), task.slots.end(), [](int s) { return s > 0; }));
  const int64_t enough = static_cast<int64_t>(options.tolerance * average);
  const int writes_left =
      std::max(0, options.writes_max - (completed.empty() ? 0 : CountWrites(current, start)));
  if (task.spare_slots() == 0) {
    ExchangeOptions exchange;
    exchange.writes_max = writes_left;
    exchange.min_gain = 0.005;
    return finish(Exchange(task, start, exchange));
  }
  std::vector<Written> best;    // empty: nothing is better than the start
  std::optional<double> least;  // bound of the best; it is dear, and often not asked for
  const double slot_bound = SlotBound(task);
  const auto bound_at = [&](double factor) { return (1 + factor * (options.headroom - 1)) * slot_bound; };
  SlotFlow flow(task, start, bound_at(kRetries[0]));
  for (const double factor : kRetries) {
    if (factor > kRetries[0]) flow.Raise(bound_at(factor));
    const int64_t left_before = flow.unrouted();
    const bool changed = SlotRepairer(task, flow).Run(writes_left, enough) > 0;
    const int64_t left = flow.unrouted();
    const double unrouted = static_cast<double>(left) / average;
    if (factor == kRetries[0]) result.unrouted = static_cast<double>(left_before) / average;
    if (changed && IsBetter(task, flow, bound_at(factor), least)) {
      best = WrittenSince(flow);
      result.unrouted = unrouted;
    }
    if (unrouted <= options.tolerance) break;
    flow.Undo(0);
  }
  SlotTable table = start;
  for (const Written& written : best) table[written.rank][written.index] = written.expert;
  if (!completed.empty()) return finish(table);
  // Other rows stay as they are.
  for (size_t i = 0; i < best.size(); ++i) {
    const int g = best[i].rank;
    if (i > 0 && best[i - 1].rank == g) continue;
    table[g] = KeepIndices(base[g], table[g]);
    result.writes += CountWrites(current[g], table[g]);
  }
  result.table = std::move(table);
  return result;
}

}  // namespace ballast
