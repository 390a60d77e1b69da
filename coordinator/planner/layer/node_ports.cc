#include "coordinator/planner/layer/node_ports.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <optional>
#include <utility>

#include "coordinator/planner/layer/bounds.h"
#include "plan/balance_solver.h"
#include "plan/copies.h"

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
    for (int node : task.node_of_rank) place_.push_back(node_ranks_[static_cast<size_t>(node)]++);
    // Every rank sends as many tokens to an expert; what is left over is the first ranks'.
    const auto ranks = static_cast<size_t>(task.ranks()), experts = task.load.size();
    std::vector<int64_t> each(experts), left(experts);
    for (size_t e = 0; e < experts; ++e) {
      each[e] = task.load[e] / task.ranks();
      left[e] = task.load[e] % task.ranks();
    }
    counts_.assign(ranks, each);
    of_node_.assign(node_ranks_.size() * experts, 0);
    for (size_t g = 0; g < ranks; ++g) {
      int64_t* const counts = counts_[g].data();
      int64_t* const of_node = of_node_.data() + NodeOf(static_cast<int>(g)) * experts;
      for (size_t e = 0; e < experts; ++e) {
        counts[e] += static_cast<int64_t>(g) < left[e] ? 1 : 0;
        of_node[e] += counts[e];
      }
    }
    perfect_ = PerfectBound(task);
  }

  // Until the next call.
  const PortLoads& Loads(const SlotTable& table) {
    const auto ranks = static_cast<size_t>(task_.ranks());
    SetCopies(table);
    const TokenSources sources{counts_, topology_, &of_node_};
    solver_.Solve(task_.load, copies_, task_.speeds, &sources, quotas_);
    loads_.tokens.assign(ranks, 0);
    loads_.in.assign(ranks, 0);
    loads_.out.assign(ranks, 0);
    loads_.rails_in.assign(ranks, 0);
    leaves_.assign(node_ranks_.size(), 0);
    enters_.assign(node_ranks_.size(), 0);
    for (size_t e = 0; e < task_.load.size(); ++e) {
      node_quota_.assign(node_ranks_.size(), 0);
      for (int c = copies_.begin[e]; c < copies_.begin[e + 1]; ++c)
        node_quota_[NodeOf(copies_.rank[c])] += static_cast<double>(quotas_[c]);
      for (size_t n = 0; n < node_quota_.size(); ++n) {
        const double away = Own(e, n) - node_quota_[n];
        leaves_[n] += std::max(0.0, away);
        enters_[n] += std::max(0.0, -away);
      }
      for (int c = copies_.begin[e]; c < copies_.begin[e + 1]; ++c) {
        const auto g = static_cast<size_t>(copies_.rank[c]);
        const size_t n = NodeOf(copies_.rank[c]);
        const double quota = static_cast<double>(quotas_[c]);
        loads_.tokens[g] += quota;
        if (node_quota_[n] > 0) loads_.in[g] += quota * std::max(0.0, 1 - Own(e, n) / node_quota_[n]);
      }
    }
    for (size_t g = 0; g < ranks; ++g) {
      const auto n = static_cast<size_t>(task_.node_of_rank[g]);
      loads_.out[g] = leaves_[n] / node_ranks_[n];
      loads_.rails_in[g] = enters_[n] * OnItsRail(g);
    }
    return loads_;
  }

  // What ports do, in tokens over a healthy one.
  struct PortTimes {
    double busiest = 0;           // how long rows take
    std::vector<double> of_rank;  // each rank's part in that
  };
  const PortTimes& Times(const PortLoads& loads) {
    Straight(loads);
    if (!costs_.rails) return straight_;
    OnRails(loads);
    return rails_.busiest < straight_.busiest ? rails_ : straight_;
  }

  struct Score {
    double objective = 0;
    double smooth = 0;  // with the spread: what the search goes down
  };
  Score Of(const SlotTable& table) {
    Score score;
    if (perfect_ <= 0) return score;
    const PortLoads& loads = Loads(table);
    const PortTimes& times = Times(loads);
    const double period = costs_.port / (perfect_ * kHealthy);  // of a token over a port
    double token_squares = 0, port_squares = 0, token_most = 0;
    for (size_t g = 0; g < loads.tokens.size(); ++g) {
      const double tokens = loads.tokens[g] / task_.speeds[g] / perfect_, port = period * times.of_rank[g];
      token_most = std::max(token_most, tokens);
      token_squares += tokens * tokens;
      port_squares += port * port;
    }
    const double ranks = static_cast<double>(loads.tokens.size());
    const bool among_nodes = node_ranks_.size() > 1;
    score.objective = token_most + (among_nodes ? period * times.busiest : 0);
    score.smooth = score.objective + kSpreadWeight * (std::sqrt(token_squares / ranks) +
                                                      (among_nodes ? std::sqrt(port_squares / ranks) : 0));
    return score;
  }

  // Ranks with slots, those first that are nearest to being the busiest in tokens or on the port.
  std::vector<size_t> BusyRanks(const SlotTable& table) {
    const PortLoads& loads = Loads(table);
    const PortTimes& times = Times(loads);
    std::vector<double> near(loads.tokens.size(), -1);
    std::vector<size_t> ranks;
    double token_most = 0;
    for (size_t g = 0; g < near.size(); ++g)
      token_most = std::max(token_most, loads.tokens[g] / task_.speeds[g]);
    const double port_most = *std::max_element(times.of_rank.begin(), times.of_rank.end());
    for (size_t g = 0; g < near.size(); ++g) {
      const double tokens = token_most > 0 ? loads.tokens[g] / task_.speeds[g] / token_most : 0,
                   port = port_most > 0 ? times.of_rank[g] / port_most : 0;
      near[g] = std::max(tokens, port) + 1e-3 * (tokens + port);
      if (task_.slots[g] > 0) ranks.push_back(g);
    }
    std::stable_sort(ranks.begin(), ranks.end(), [&](size_t a, size_t b) { return near[a] > near[b]; });
    return ranks;
  }

 private:
  static constexpr double kHealthy = 65536;
  static Topology TopologyOf(const LayerTask& task) {
    Topology topology;
    for (int node : task.node_of_rank) topology.node_of_rank.push_back(NodeId(node));
    topology.node_names.resize(static_cast<size_t>(task.nodes()));
    return topology;
  }
  void SetCopies(const SlotTable& table) {
    copies_.begin.assign(task_.load.size() + 1, 0);
    for (const std::vector<int>& row : table) {
      for (int e : row) copies_.begin[static_cast<size_t>(e) + 1] += e != kNoExpert;
    }
    std::partial_sum(copies_.begin.begin(), copies_.begin.end(), copies_.begin.begin());
    copies_.rank.resize(static_cast<size_t>(copies_.begin.back()));
    next_.assign(copies_.begin.begin(), copies_.begin.end());
    for (size_t g = 0; g < table.size(); ++g) {
      for (int e : table[g]) {
        if (e != kNoExpert) copies_.rank[next_[e]++] = static_cast<int32_t>(g);
      }
    }
  }
  void Straight(const PortLoads& loads) {
    straight_.of_rank.clear();
    for (size_t g = 0; g < loads.in.size(); ++g)
      straight_.of_rank.push_back(Slow(g) * std::max(loads.in[g], loads.out[g]));
    straight_.busiest = *std::max_element(straight_.of_rank.begin(), straight_.of_rank.end());
  }
  void OnRails(const PortLoads& loads) {
    double cross = 0, handed = 0;
    rails_.of_rank.clear();
    for (size_t g = 0; g < loads.in.size(); ++g) {
      const double port = Slow(g) * std::max(loads.rails_in[g], loads.out[g]);
      const double others = 1 - 1.0 / node_ranks_[static_cast<size_t>(task_.node_of_rank[g])];
      const double on = costs_.inside * others * std::max(loads.rails_in[g], loads.in[g]);
      rails_.of_rank.push_back(port + on);
      cross = std::max(cross, port);
      handed = std::max(handed, on);
    }
    rails_.busiest = cross + handed;
  }
  double Slow(size_t rank) const { return costs_.slowdowns.empty() ? 1 : costs_.slowdowns[rank]; }
  // The part of what comes into its node from others that comes over the rank's port on rails.
  double OnItsRail(size_t rank) const {
    const auto here = static_cast<size_t>(task_.node_of_rank[rank]);
    double all = 0, mine = 0;
    for (size_t n = 0; n < leaves_.size(); ++n) {
      if (n == here) continue;
      const int ranks = node_ranks_[here], sources = node_ranks_[n];
      const int on_rail = sources / ranks + (place_[rank] < sources % ranks ? 1 : 0);
      all += leaves_[n];
      mine += leaves_[n] * on_rail / sources;
    }
    return all > 0 ? mine / all : 0;
  }
  size_t NodeOf(int rank) const { return static_cast<size_t>(task_.node_of_rank[rank]); }
  // Tokens of the expert that come from the node.
  double Own(size_t expert, size_t node) const {
    return static_cast<double>(task_.load[expert]) * node_ranks_[node] / task_.ranks();
  }

  const LayerTask& task_;
  const PortCosts& costs_;
  const Topology topology_;
  std::vector<int> node_ranks_;
  std::vector<int> place_;  // [rank] in its node
  CountMatrix counts_;
  std::vector<int64_t> of_node_;  // [node][expert] sums of counts_
  double perfect_ = 0;
  // Kept from call to call.
  BalanceSolver solver_;
  Copies copies_;
  std::vector<int32_t> next_;
  std::vector<int64_t> quotas_;
  std::vector<double> node_quota_, leaves_, enters_;  // [node]
  PortLoads loads_;
  PortTimes straight_, rails_;
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

// Returns what the other slot held.
int Apply(const Change& change, SlotTable& table) {
  int& mine = table[change.rank][change.index];
  int& other = table[change.other_rank][change.other_index];
  const int before = other;
  other = mine;
  if (!change.copy) mine = before;
  return before;
}

void Undo(const Change& change, int before, SlotTable& table) {
  int& other = table[change.other_rank][change.other_index];
  if (!change.copy) table[change.rank][change.index] = other;
  other = before;
}

}  // namespace

PortLoads PortLoadsOf(const LayerTask& task, const SlotTable& table) {
  return Evaluator(task, PortCosts()).Loads(table);
}

double BusiestPort(const LayerTask& task, const SlotTable& table, const PortCosts& costs) {
  if (task.nodes() < 2 || task.total_load() == 0) return 0;
  Evaluator evaluator(task, costs);
  return evaluator.Times(evaluator.Loads(table)).busiest;
}

double PortObjective(const LayerTask& task, const SlotTable& table, const PortCosts& costs) {
  return Evaluator(task, costs).Of(table).objective;
}

SlotTable BalancePorts(const LayerTask& task, SlotTable table, const PortCosts& costs, int64_t& evaluations) {
  if (task.nodes() < 2 || task.total_load() == 0) return table;
  Evaluator evaluator(task, costs);
  double best = evaluator.Of(table).smooth;
  std::vector<size_t> busy = evaluator.BusyRanks(table);
  for (size_t next = 0; next < busy.size() && evaluations > 0;) {
    std::optional<Change> chosen;
    for (const Change& change : ChangesFrom(task, table, busy[next])) {
      if (evaluations-- <= 0) break;
      const int before = Apply(change, table);
      const double smooth = evaluator.Of(table).smooth;
      Undo(change, before, table);
      if (smooth >= best - kMustGain) continue;
      best = smooth;
      chosen = change;
    }
    ++next;
    if (!chosen) continue;
    Apply(*chosen, table);
    busy = evaluator.BusyRanks(table);
    next = 0;
  }
  return table;
}

}  // namespace ballast
