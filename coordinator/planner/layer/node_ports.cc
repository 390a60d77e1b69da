#include "coordinator/planner/layer/node_ports.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <utility>

#include "coordinator/planner/layer/bounds.h"
#include "plan/apportion.h"
#include "plan/balance.h"

namespace ballast {
namespace {

// Beside the busiest rank, how uneven all are: an exchange that helps the second busiest is progress too.
constexpr double kSpreadWeight = 0.1;
constexpr double kMustGain = 1e-4;

class Evaluator {
 public:
  Evaluator(const LayerTask& task, const PortCosts& costs)
      : task_(task),
        costs_(costs),
        topology_(TopologyOf(task)),
        node_ranks_(static_cast<size_t>(task.nodes()), 0) {
    for (int node : task.node_of_rank) ++node_ranks_[static_cast<size_t>(node)];
    const std::vector<int64_t> even(static_cast<size_t>(task.ranks()), 1);
    counts_.assign(static_cast<size_t>(task.ranks()), std::vector<int64_t>(task.load.size(), 0));
    for (size_t e = 0; e < task.load.size(); ++e) {
      const std::vector<int64_t> parts = Apportion(task.load[e], even);
      for (size_t g = 0; g < parts.size(); ++g) counts_[g][e] = parts[g];
    }
    perfect_ = PerfectBound(task);
  }

  PortLoads Loads(const SlotTable& table) const {
    const std::vector<std::vector<Rank>> hosts = HostsOf(table, task_.experts());
    const TokenSources sources{counts_, topology_};
    const Quotas quotas = BalanceExactly(task_.load, hosts, task_.speeds, &sources);
    const auto ranks = static_cast<size_t>(task_.ranks());
    PortLoads loads;
    loads.tokens.assign(ranks, 0);
    loads.in.assign(ranks, 0);
    loads.out.assign(ranks, 0);
    std::vector<double> node_quota(node_ranks_.size()), leaves(node_ranks_.size(), 0);
    for (size_t e = 0; e < quotas.size(); ++e) {
      std::fill(node_quota.begin(), node_quota.end(), 0);
      for (size_t i = 0; i < quotas[e].size(); ++i) {
        node_quota[NodeOf(hosts[e][i])] += static_cast<double>(quotas[e][i]);
      }
      for (size_t n = 0; n < leaves.size(); ++n) leaves[n] += std::max(0.0, Own(e, n) - node_quota[n]);
      for (size_t i = 0; i < quotas[e].size(); ++i) {
        const size_t g = hosts[e][i].index(), n = NodeOf(hosts[e][i]);
        const double quota = static_cast<double>(quotas[e][i]);
        loads.tokens[g] += quota;
        if (node_quota[n] > 0) loads.in[g] += quota * std::max(0.0, 1 - Own(e, n) / node_quota[n]);
      }
    }
    for (size_t g = 0; g < ranks; ++g) {
      const auto n = static_cast<size_t>(task_.node_of_rank[g]);
      loads.out[g] = leaves[n] / node_ranks_[n];
    }
    return loads;
  }

  // Each rank's share of the objective: its tokens' and its port's periods.
  void Periods(const PortLoads& loads, std::vector<double>& tokens, std::vector<double>& ports) const {
    const double mean = perfect_ * kHealthy;  // tokens of a healthy rank in a balanced period
    tokens.clear();
    ports.clear();
    for (size_t g = 0; g < loads.tokens.size(); ++g) {
      tokens.push_back(loads.tokens[g] / task_.speeds[g] / perfect_);
      const double slow = costs_.slowdowns.empty() ? 1 : costs_.slowdowns[g];
      ports.push_back(costs_.port * slow * std::max(loads.in[g], loads.out[g]) / mean);
    }
  }

  struct Score {
    double objective = 0;
    double smooth = 0;   // with the spread: what the search goes down
    size_t busiest = 0;  // rank, by the sum of both
  };
  Score Of(const SlotTable& table) const {
    Score score;
    if (perfect_ <= 0) return score;
    std::vector<double> tokens, ports;
    Periods(Loads(table), tokens, ports);
    double token_squares = 0, port_squares = 0, most = -1;
    const double token_most = *std::max_element(tokens.begin(), tokens.end());
    const double port_most = *std::max_element(ports.begin(), ports.end());
    for (size_t g = 0; g < tokens.size(); ++g) {
      token_squares += tokens[g] * tokens[g];
      port_squares += ports[g] * ports[g];
      const double near = std::max(token_most > 0 ? tokens[g] / token_most - 1 : -1,
                                   port_most > 0 ? ports[g] / port_most - 1 : -1);
      if (task_.slots[g] > 0 && near + 1e-3 * (tokens[g] + ports[g]) > most) {
        most = near + 1e-3 * (tokens[g] + ports[g]);
        score.busiest = g;
      }
    }
    const double ranks = static_cast<double>(tokens.size());
    score.objective = token_most + (node_ranks_.size() > 1 ? port_most : 0);
    score.smooth =
        score.objective + kSpreadWeight * (std::sqrt(token_squares / ranks) +
                                           (node_ranks_.size() > 1 ? std::sqrt(port_squares / ranks) : 0));
    return score;
  }

 private:
  static constexpr double kHealthy = 65536;
  static Topology TopologyOf(const LayerTask& task) {
    Topology topology;
    for (int node : task.node_of_rank) topology.node_of_rank.push_back(NodeId(node));
    topology.node_names.resize(static_cast<size_t>(task.nodes()));
    return topology;
  }
  size_t NodeOf(Rank rank) const { return static_cast<size_t>(task_.node_of_rank[rank.index()]); }
  // Tokens of the expert that come from the node.
  double Own(size_t expert, size_t node) const {
    return static_cast<double>(task_.load[expert]) * node_ranks_[node] / task_.ranks();
  }

  const LayerTask& task_;
  const PortCosts& costs_;
  const Topology topology_;
  std::vector<int> node_ranks_;
  CountMatrix counts_;
  double perfect_ = 0;
};

// A way to change two slots.
struct Change {
  size_t rank = 0, index = 0, other_rank = 0, other_index = 0;
  bool copy = false;  // the expert of the first also into the second, over what is there; otherwise exchanged
};

// Every exchange of a slot of `rank`, and every copy of what it holds over a redundant or empty slot; those
// within its node first.
std::vector<Change> ChangesFrom(const LayerTask& task, const SlotTable& table, size_t rank) {
  const std::vector<int> copies = CopiesOf(table, task.experts());
  std::vector<Change> near, far;
  for (size_t i = 0; i < table[rank].size(); ++i) {
    const int e = table[rank][i];
    for (size_t h = 0; h < table.size(); ++h) {
      if (h == rank) continue;
      std::vector<Change>& to = task.node_of_rank[h] == task.node_of_rank[rank] ? near : far;
      for (size_t j = 0; j < table[h].size(); ++j) {
        const int f = table[h][j];
        if (e == f) continue;
        const bool e_fits = e == kNoExpert || !Holds(table[h], e),
                   f_fits = f == kNoExpert || !Holds(table[rank], f);
        if (e_fits && f_fits) to.push_back({rank, i, h, j, false});
        if (e != kNoExpert && e_fits && (f == kNoExpert || copies[f] > 1))
          to.push_back({rank, i, h, j, true});
      }
    }
  }
  near.insert(near.end(), far.begin(), far.end());
  return near;
}

void Apply(const Change& change, SlotTable& table) {
  int& mine = table[change.rank][change.index];
  int& other = table[change.other_rank][change.other_index];
  if (change.copy) {
    other = mine;
  } else {
    std::swap(mine, other);
  }
}

}  // namespace

PortLoads PortLoadsOf(const LayerTask& task, const SlotTable& table) {
  return Evaluator(task, PortCosts()).Loads(table);
}

double BusiestPort(const LayerTask& task, const SlotTable& table, const std::vector<double>& slowdowns) {
  if (task.nodes() < 2 || task.total_load() == 0) return 0;
  const PortLoads loads = PortLoadsOf(task, table);
  double most = 0;
  for (size_t g = 0; g < loads.in.size(); ++g) {
    most = std::max(most, std::max(loads.in[g], loads.out[g]) * (slowdowns.empty() ? 1 : slowdowns[g]));
  }
  return most;
}

double PortObjective(const LayerTask& task, const SlotTable& table, const PortCosts& costs) {
  return Evaluator(task, costs).Of(table).objective;
}

SlotTable BalancePorts(const LayerTask& task, SlotTable table, const PortCosts& costs, int64_t& evaluations) {
  if (task.nodes() < 2 || task.total_load() == 0) return table;
  const Evaluator evaluator(task, costs);
  Evaluator::Score best = evaluator.Of(table);
  bool found = true;
  while (found && evaluations > 0) {
    found = false;
    SlotTable chosen;
    Evaluator::Score chosen_score = best;
    for (const Change& change : ChangesFrom(task, table, best.busiest)) {
      if (evaluations-- <= 0) break;
      SlotTable tried = table;
      Apply(change, tried);
      const Evaluator::Score score = evaluator.Of(tried);
      if (score.smooth >= chosen_score.smooth - kMustGain) continue;
      chosen_score = score;
      chosen = std::move(tried);
      found = true;
    }
    if (!found) break;
    table = std::move(chosen);
    best = chosen_score;
  }
  return table;
}

}  // namespace ballast
