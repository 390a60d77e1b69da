// auto: of several candidates the one with the least J, adopted by rent or buy.
//
// Candidates: FlowRepair aimed at several distances from the bound (fewer copies cost less sync), where
// there is no plan worth keeping also SplitPack; each also less its costly copies. Live they are weighed on
// the newest measured loads as well as on the forecast. Rent or buy (ski rental; Karlin et al., 1988): the
// current placement is given up once what it has lost to the candidate, over some newest part of the measured
// periods, exceeds the candidate's writes. On alternating loads writes then never cost more than the loss
// they follow.
#include <algorithm>

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

class AutoStrategy final : public LayerStrategy {
 public:
  std::optional<LayerChoice> Choose(const LayerView& view) const override {
    const LayerTask& task = view.task;
    if (task.total_load() == 0) return std::nullopt;
    const bool usable = CheckTable(task, view.current).ok();
    std::vector<Candidate> candidates = Candidates(view, usable);
    int64_t evaluations = view.evaluations_max;
    const auto weigh = [&](const SlotTable& table) {
      return WeighParts(task, view.recent, view.weighed_on_recent, view.current, table, view.costs);
    };
    const auto cost = [&](const SlotTable& table) { return weigh(table).total(); };
    const bool copies_cost = view.costs.sync > 0 || view.costs.homes != nullptr;
    const double now = usable ? cost(view.current) : 0;
    double best = 0;
    const Candidate* chosen = nullptr;
    for (Candidate& candidate : candidates) {
      SlotTable& table = candidate.table;
      if (copies_cost) table = DropCostly(task, std::move(table), view.costs, cost, evaluations);
      const CostParts parts = weigh(table);
      if (view.weighed) view.weighed->push_back(Weighed(task, view.current, candidate.name, table, parts));
      if (chosen && parts.total() >= best) continue;
      best = parts.total();
      chosen = &candidate;
    }
    if (!chosen) return std::nullopt;
    if (usable && (best > (1 - kMinGain) * now || !Pays(view, chosen->table))) return std::nullopt;
    return LayerChoice{chosen->table, {}};
  }

 private:
  struct Candidate {
    std::string name;
    SlotTable table;
  };

  static std::vector<Candidate> Candidates(const LayerView& view, bool usable) {
    const LayerTask& task = view.task;
    const bool copies_cost = view.costs.sync > 0 || view.costs.homes != nullptr;
    std::vector<Candidate> candidates;
    if (usable && copies_cost) candidates.push_back({"fewer copies", view.current});
    for (double headroom : kHeadrooms) {
      if (headroom > kHeadrooms[0] && (!copies_cost || task.spare_slots() == 0)) break;
      RepairOptions options;
      options.writes_max = view.writes_max;
      options.headroom = headroom;
      Repair repair = FlowRepair(task, view.current, options);
      if (repair.unrouted > 0.02) {
        options.writes_max = 2 * view.writes_max;
        repair = FlowRepair(task, view.current, options);
      }
      candidates.push_back(
          {absl::StrFormat("flow_repair to %.2f of the bound", headroom), std::move(repair.table)});
    }
    if (usable && view.costs.ports.port > 0) {
      int64_t evaluations = std::min(view.evaluations_max, kPortEvaluations);
      candidates.push_back(
          {"tokens and ports",
           KeepIndices(view.current, BalancePorts(task, view.current, view.ports, evaluations))});
    }
    if (usable && task.spare_slots() > 0 && view.pack_anew) {
      if (!copies_cost || view.weighed_on_recent > 0)
        candidates.push_back(
            {"splitpack, all slots", Relabel(task, view.current, SplitPackFilled(task, view.seed), false)});
      for (double tolerance : kTolerances) {
        candidates.push_back({absl::StrFormat("splitpack + %.0f %%", 100 * tolerance),
                              Relabel(task, view.current, SplitPack(task, tolerance), false)});
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
