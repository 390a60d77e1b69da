#include "coordinator/planner/layer/node_labels.h"

#include <algorithm>
#include <numeric>

#include "coordinator/planner/layer/bounds.h"
#include "coordinator/planner/layer/split_pack.h"

namespace ballast {
namespace {

// Loads, members and limits of nodes, kept while labels change.
class Nodes {
 public:
  // Experts beyond `labels` are not on any node yet.
  Nodes(const LayerTask& task, const NodeLabels& labels)
      : task_(task), room_(RoomOfNodes(task)), load_(room_.size(), 0), members_(room_.size(), 0) {
    for (size_t e = 0; e < labels.size(); ++e) Add(static_cast<int>(e), labels[e]);
  }
  void Add(int e, int node) {
    load_[node] += static_cast<double>(task_.load[e]);
    ++members_[node];
  }
  void Move(int e, int from, int to) {
    load_[from] -= static_cast<double>(task_.load[e]);
    --members_[from];
    Add(e, to);
  }
  int count() const { return static_cast<int>(room_.size()); }
  bool has_place(int node) const { return members_[node] < room_[node].places; }
  // Load per speed, after `change` in load.
  double pace(int node, double change = 0) const {
    return room_[node].speed > 0 ? (load_[node] + change) / room_[node].speed : 0;
  }

 private:
  const LayerTask& task_;
  const std::vector<NodeRoom> room_;
  std::vector<double> load_;
  std::vector<int> members_;
};

}  // namespace

std::vector<NodeRoom> RoomOfNodes(const LayerTask& task) {
  std::vector<NodeRoom> room(static_cast<size_t>(task.nodes()));
  std::vector<int> ranks(room.size(), 0);
  for (int g = 0; g < task.ranks(); ++g) {
    if (task.slots[g] == 0) continue;
    NodeRoom& node = room[task.node_of_rank[g]];
    node.places += std::min(task.slots[g], task.experts());
    node.speed += task.speeds[g];
    ++ranks[task.node_of_rank[g]];
  }
  // Where places suffice, (ranks - 1) of a node are left to copies inside it.
  int64_t left = 0;
  for (size_t n = 0; n < room.size(); ++n) {
    left += ranks[n] > 0 ? std::clamp(room[n].places - ranks[n] + 1, 1, task.experts()) : 0;
  }
  for (size_t n = 0; n < room.size(); ++n) {
    if (ranks[n] == 0) continue;
    if (left >= task.experts()) room[n].places = std::max(1, room[n].places - ranks[n] + 1);
    room[n].places = std::min(room[n].places, task.experts());
  }
  return room;
}

NodeLabels LabelsByLoad(const LayerTask& task) {
  std::vector<int> order(task.load.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return task.load[a] > task.load[b]; });
  NodeLabels labels(task.load.size(), 0);
  Nodes nodes(task, {});
  for (int e : order) {
    int best = -1;
    for (int n = 0; n < nodes.count(); ++n) {
      const double load = static_cast<double>(task.load[e]);
      if (nodes.has_place(n) && (best < 0 || nodes.pace(n, load) < nodes.pace(best, load))) best = n;
    }
    labels[e] = best;
    nodes.Add(e, best);
  }
  return labels;
}

double NodeOverload(const LayerTask& task, const NodeLabels& labels) {
  const Nodes nodes(task, labels);
  double most = 0;
  for (int n = 0; n < nodes.count(); ++n) most = std::max(most, nodes.pace(n));
  const double mean = PerfectBound(task);
  return mean > 0 ? most / mean : 1;
}

bool PlacesHold(const LayerTask& task, const NodeLabels& labels) {
  const std::vector<NodeRoom> room = RoomOfNodes(task);
  std::vector<int> members(room.size(), 0);
  for (int label : labels) {
    if (++members[label] > room[label].places) return false;
  }
  return true;
}

void RepairNodeLoads(const LayerTask& task, double cap, NodeLabels& labels) {
  Nodes nodes(task, labels);
  const double allowed = cap * PerfectBound(task);
  // Each round lowers the larger load of a pair of nodes; more rounds than experts have never been needed.
  for (int round = 0; round < 4 * task.experts(); ++round) {
    int top = 0;
    for (int n = 1; n < nodes.count(); ++n) {
      if (nodes.pace(n) > nodes.pace(top)) top = n;
    }
    if (nodes.pace(top) <= allowed) return;
    double least = nodes.pace(top) * (1 - 1e-9);
    int move = -1, with = -1, to = -1;
    for (int e = 0; e < task.experts(); ++e) {
      if (labels[e] != top) continue;
      const double load = static_cast<double>(task.load[e]);
      for (int n = 0; n < nodes.count(); ++n) {
        if (n == top || !nodes.has_place(n)) continue;
        const double larger = std::max(nodes.pace(top, -load), nodes.pace(n, load));
        if (larger < least) {
          least = larger;
          move = e;
          with = -1;
          to = n;
        }
      }
      for (int f = 0; f < task.experts(); ++f) {
        if (labels[f] == top) continue;
        const double change = load - static_cast<double>(task.load[f]);
        const double larger = std::max(nodes.pace(top, -change), nodes.pace(labels[f], change));
        if (larger < least) {
          least = larger;
          move = e;
          with = f;
          to = labels[f];
        }
      }
    }
    if (move < 0) return;
    nodes.Move(move, top, to);
    labels[move] = to;
    if (with < 0) continue;
    nodes.Move(with, to, top);
    labels[with] = top;
  }
}

void ExchangeForAffinity(const LayerTask& task, const Affinity& affinity, double cap, int64_t& evaluations,
                         NodeLabels& labels) {
  Nodes nodes(task, labels);
  const double allowed = cap * PerfectBound(task);
  const size_t count = static_cast<size_t>(nodes.count());
  // near[e * nodes + n]: what e has in common with node n, and with the experts there.
  std::vector<int64_t> near(task.load.size() * count, 0);
  auto at = [&](int e, int n) -> int64_t& {
    return near[static_cast<size_t>(e) * count + static_cast<size_t>(n)];
  };
  for (int e = 0; e < task.experts(); ++e) {
    for (int n = 0; n < nodes.count(); ++n) at(e, n) = affinity.to_node(e, n);
    for (int f = 0; f < task.experts(); ++f) {
      if (e != f) at(e, labels[f]) += affinity.between(e, f);
    }
  }
  auto move = [&](int e, int to) {
    const int from = labels[e];
    nodes.Move(e, from, to);
    labels[e] = to;
    for (int f = 0; f < task.experts(); ++f) {
      if (f == e) continue;
      at(f, from) -= affinity.between(e, f);
      at(f, to) += affinity.between(e, f);
    }
  };
  auto fits = [&](int node, double change) { return change <= 0 || nodes.pace(node, change) <= allowed; };
  while (evaluations > 0) {
    int64_t best = 0;
    int first = -1, second = -1, to = -1;
    for (int e = 0; e < task.experts() && evaluations > 0; ++e) {
      const int a = labels[e];
      const double load = static_cast<double>(task.load[e]);
      for (int n = 0; n < nodes.count(); ++n) {
        const int64_t gain = at(e, n) - at(e, a);
        if (n == a || gain <= best || !nodes.has_place(n) || !fits(n, load)) continue;
        best = gain;
        first = e;
        second = -1;
        to = n;
      }
      for (int f = e + 1; f < task.experts(); ++f) {
        const int b = labels[f];
        if (a == b) continue;
        --evaluations;
        const int64_t gain = at(e, b) - at(e, a) + at(f, a) - at(f, b) - 2 * affinity.between(e, f);
        if (gain <= best) continue;
        const double change = load - static_cast<double>(task.load[f]);
        if (!fits(b, change) || !fits(a, -change)) continue;
        best = gain;
        first = e;
        second = f;
        to = b;
      }
    }
    if (first < 0) return;
    const int from = labels[first];
    move(first, to);
    if (second >= 0) move(second, from);
  }
}

SlotTable PackNodes(const LayerTask& task, const NodeLabels& labels) {
  SlotTable table = EmptyTable(task);
  for (int n = 0; n < task.nodes(); ++n) {
    LayerTask inside;
    std::vector<int> experts, ranks;
    for (int e = 0; e < task.experts(); ++e) {
      if (labels[e] != n) continue;
      experts.push_back(e);
      inside.load.push_back(task.load[e]);
    }
    if (experts.empty()) continue;
    for (int g = 0; g < task.ranks(); ++g) {
      if (task.node_of_rank[g] != n || task.slots[g] == 0) continue;
      ranks.push_back(g);
      inside.slots.push_back(task.slots[g]);
      inside.speeds.push_back(task.speeds[g]);
      inside.node_of_rank.push_back(0);
    }
    const SlotTable packed = SplitPack(inside);
    for (size_t r = 0; r < packed.size(); ++r) {
      for (size_t i = 0; i < packed[r].size(); ++i) {
        if (packed[r][i] != kNoExpert) table[ranks[r]][i] = experts[packed[r][i]];
      }
    }
  }
  return table;
}

NodeLabels LabelsOf(const LayerTask& task, const SlotTable& table) {
  NodeLabels labels;
  for (const std::vector<Rank>& hosts : HostsOf(table, task.experts())) {
    labels.push_back(hosts.empty() ? 0 : task.node_of_rank[hosts[0].index()]);
  }
  return labels;
}

}  // namespace ballast
