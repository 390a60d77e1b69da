// auto: of several candidates the one with the least J that pays for its writes, by rent or buy; fuller ranks
// must gain something.
//
// Candidates, in all slots and in each smaller number that the current placement does with, so that slots
// never raise J (with the same number on every rank that has any): FlowRepair aimed at several distances from
// the bound (fewer copies cost less sync), where there is no plan worth keeping also SplitPack; each also
// less its costly copies. Live they are weighed on the newest measured loads as well as on the forecast. Rent
// or buy (ski rental; Karlin et al., 1988): the current placement is given up once what it has lost to the
// candidate, over some newest part of the measured periods, exceeds the candidate's writes. On alternating
// loads writes then never cost more than the loss they follow.
#include <algorithm>
#include <set>

#include "absl/strings/str_format.h"
#include "coordinator/planner/layer/bounds.h"
#include "coordinator/planner/layer/exchange.h"
#include "coordinator/planner/layer/flow_repair.h"
#include "coordinator/planner/layer/layer_strategy.h"
#include "coordinator/planner/layer/node_ports.h"
#include "coordinator/planner/layer/relabel.h"
#include "coordinator/planner/layer/split_pack.h"

namespace ballast {
namespace {

constexpr double kHeadrooms[] = {1.01, 1.05, 1.1, 1.2};
constexpr double kTolerances[] = {0, 0.02, 0.05, 0.1, 0.2};
// Placements that are looked at for the ports' sake.
constexpr int64_t kPortEvaluations = 600;
// Gains below this share of J are noise.
constexpr double kMinGain = 0.003;
// Where copies cost, each slot more on the fullest rank must lower J by this share. The search is greedy: of
// many more placements it finds some that are a little better now and lead to worse ones later.
constexpr double kMinGainOfSlot = 0.006;

int HeldBy(const std::vector<int>& row) {
  return static_cast<int>(row.size()) - static_cast<int>(std::count(row.begin(), row.end(), kNoExpert));
}

int FullestRank(const SlotTable& table) {
  int most = 0;
  for (const std::vector<int>& row : table) most = std::max(most, HeldBy(row));
  return most;
}

// `task` with at most `slots` slots on a rank.
LayerTask WithSlots(const LayerTask& task, int slots) {
  LayerTask fewer = task;
  for (int& of_rank : fewer.slots) of_rank = std::min(of_rank, slots);
  return fewer;
}

class AutoStrategy final : public LayerStrategy {
 public:
  StrategyTraits traits() const override { return {.slow_when_large = true}; }
  std::optional<LayerChoice> Choose(const LayerView& view) const override {
    const LayerTask& task = view.task;
    if (task.total_load() == 0) return std::nullopt;
    const bool usable = CheckTable(task, view.current).ok();
    const auto weigh = [&](const SlotTable& table) {
      return WeighParts(task, view.recent, view.weighed_on_recent, view.current, table, view.costs);
    };
    const auto cost = [&](const SlotTable& table) { return weigh(table).total(); };
    const bool copies_cost = view.costs.sync > 0 || view.costs.homes != nullptr;
    const auto ranked = [&](const SlotTable& table, const CostParts& parts) {
      return parts.total() * (1 + (copies_cost ? kMinGainOfSlot * FullestRank(table) : 0));
    };
    std::vector<Candidate> candidates;
    std::set<SlotTable> seen;  // those of several numbers of slots are often the same
    const auto add = [&](const std::vector<Candidate>& more) {
      int64_t evaluations = view.evaluations_max;
      for (const Candidate& candidate : more) {
        if (!seen.insert(candidate.table).second) continue;
        SlotTable table = candidate.table;
        if (copies_cost) table = DropCostly(task, std::move(table), view.costs, cost, evaluations);
        if (table != candidate.table && !seen.insert(table).second) continue;
        const CostParts parts = weigh(table);
        if (view.weighed) view.weighed->push_back(Weighed(task, view.current, candidate.name, table, parts));
        const double cost_of_table = ranked(table, parts);
        candidates.push_back({candidate.name, std::move(table), cost_of_table});
      }
      if (view.evaluations_used)
        *view.evaluations_used += view.evaluations_max - std::max<int64_t>(0, evaluations);
    };
    if (usable && copies_cost) add({{"fewer copies", view.current}});
    for (int slots : SlotsToWeigh(view, usable)) add(InSlots(view, usable, slots));
    std::stable_sort(candidates.begin(), candidates.end(),
                     [](const Candidate& a, const Candidate& b) { return a.cost < b.cost; });
    const double now = usable ? ranked(view.current, weigh(view.current)) : 0;
    for (const Candidate& candidate : candidates) {
      if (usable && candidate.cost > (1 - kMinGain) * now) break;
      if (!usable || Pays(view, candidate.table)) return LayerChoice{candidate.table, {}};
    }
    return std::nullopt;
  }

 private:
  struct Candidate {
    std::string name;
    SlotTable table;
    double cost = 0;  // J, dearer by kMinGainOfSlot
  };

  // How many slots of a rank candidates may use: all there are, and any smaller number that the current
  // placement does with. So whatever is found in fewer slots is found in more, too.
  static std::vector<int> SlotsToWeigh(const LayerView& view, bool usable) {
    const LayerTask& task = view.task;
    const int all = *std::max_element(task.slots.begin(), task.slots.end());
    const int least = usable ? std::max(1, FullestRank(view.current)) : all;
    std::vector<int> numbers;
    for (int slots = least; slots <= all; ++slots) numbers.push_back(slots);
    return numbers;
  }

  // Candidates in at most so many slots of a rank, as tables of view.task.
  static std::vector<Candidate> InSlots(const LayerView& view, bool usable, int slots) {
    const LayerTask task = WithSlots(view.task, slots);
    SlotTable current = view.current;
    for (size_t g = 0; usable && g < current.size(); ++g) {
      if (static_cast<int>(current[g].size()) <= slots) continue;
      std::erase(current[g], kNoExpert);
      current[g].resize(static_cast<size_t>(slots), kNoExpert);
    }
    std::vector<Candidate> candidates = Candidates(view, task, current, usable);
    const bool fewer = task.slots != view.task.slots;
    for (Candidate& candidate : candidates) {
      if (!fewer) break;
      absl::StrAppendFormat(&candidate.name, ", in %d slots", slots);
      for (size_t g = 0; g < candidate.table.size(); ++g)
        candidate.table[g].resize(static_cast<size_t>(view.task.slots[g]), kNoExpert);
      candidate.table = KeepIndices(view.current, candidate.table);
    }
    return candidates;
  }

  static std::vector<Candidate> Candidates(const LayerView& view, const LayerTask& task,
                                           const SlotTable& current, bool usable) {
    const bool copies_cost = view.costs.sync > 0 || view.costs.homes != nullptr;
    std::vector<Candidate> candidates;
    for (double headroom : kHeadrooms) {
      if (headroom > kHeadrooms[0] && (!copies_cost || task.spare_slots() == 0)) break;
      RepairOptions options;
      options.writes_max = view.writes_max;
      options.headroom = headroom;
      Repair repair = FlowRepair(task, current, options);
      if (repair.unrouted > 0.02) {
        options.writes_max = 2 * view.writes_max;
        repair = FlowRepair(task, current, options);
      }
      candidates.push_back(
          {absl::StrFormat("flow_repair to %.2f of the bound", headroom), std::move(repair.table)});
    }
    if (usable && view.costs.ports.port > 0) {
      const int64_t budget = std::min(view.evaluations_max, kPortEvaluations);
      int64_t evaluations = budget;
      candidates.push_back(
          {"tokens and ports", KeepIndices(current, BalancePorts(task, current, view.ports, evaluations))});
      if (view.evaluations_used) *view.evaluations_used += budget - std::max<int64_t>(0, evaluations);
    }
    if (usable && task.spare_slots() > 0 && view.pack_anew) {
      if (!copies_cost || view.weighed_on_recent > 0)
        candidates.push_back(
            {"splitpack, all slots", Relabel(task, current, SplitPackFilled(task, view.seed), false)});
      for (double tolerance : kTolerances) {
        candidates.push_back({absl::StrFormat("splitpack + %.0f %%", 100 * tolerance),
                              Relabel(task, current, SplitPack(task, tolerance), false)});
        if (!copies_cost) break;
      }
    }
    return candidates;
  }

  static bool Pays(const LayerView& view, const SlotTable& table) {
    const double cost = SwitchCost(view.task, view.current, table, view.costs);
    if (cost == 0 || view.recent.empty()) return true;
    LayerTask measured = view.task;
    double lost = 0;
    for (const std::vector<int64_t>& load : view.recent) {
      measured.load = load;
      const double total = static_cast<double>(measured.total_load());
      if (total == 0) continue;
      LayerCosts costs = view.costs;  // of the forecast's units of load
      costs.load *= static_cast<double>(view.task.total_load()) / total;
      costs.ports.port *= static_cast<double>(view.task.total_load()) / total;
      lost += Objective(measured, view.current, costs) - Objective(measured, table, costs);
      if (lost > cost) return true;
    }
    return false;
  }
};

}  // namespace

LayerStrategyPtr MakeAutoStrategy() { return std::make_shared<AutoStrategy>(); }

}  // namespace ballast
