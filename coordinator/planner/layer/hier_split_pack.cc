#include "coordinator/planner/layer/hier_split_pack.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "coordinator/planner/layer/split_pack.h"
#include "plan/balance.h"

namespace ballast {
namespace {

constexpr double kHot = 0.8;

struct Node {
  std::vector<int> ranks;  // with slots
  int slots = 0;
  int places = 0;  // experts it may hold
  uint32_t speed = 0;
  double load = 0;
  std::vector<int> experts;
};

std::vector<Node> NodesOf(const LayerTask& task) {
  std::vector<Node> nodes(static_cast<size_t>(task.nodes()));
  std::vector<uint64_t> speed(nodes.size(), 0);
  for (int g = 0; g < task.ranks(); ++g) {
    if (task.slots[g] == 0) continue;
    Node& node = nodes[task.node_of_rank[g]];
    node.ranks.push_back(g);
    node.slots += std::min(task.slots[g], task.experts());
    speed[task.node_of_rank[g]] += task.speeds[g];
  }
  for (size_t n = 0; n < nodes.size(); ++n) {
    nodes[n].speed =
        static_cast<uint32_t>(std::clamp<uint64_t>(speed[n], 1, std::numeric_limits<uint32_t>::max()));
  }
  return nodes;
}

// Splits inside a node cost it up to (ranks - 1) slots; where that leaves too few places, they are given up.
// Returns the places beyond one per expert.
int CountPlaces(const LayerTask& task, std::vector<Node>& nodes) {
  for (const bool reserve : {true, false}) {
    int64_t places = 0;
    for (Node& node : nodes) {
      node.places = node.slots;
      if (reserve && node.slots > 0) {
        node.places = std::max(1, node.slots - static_cast<int>(node.ranks.size()) + 1);
      }
      node.places = std::min(node.places, task.experts());
      places += node.places;
    }
    if (places >= task.experts()) return static_cast<int>(places) - task.experts();
  }
  return 0;
}

void DealExperts(const LayerTask& task, std::vector<Node>& nodes, int extra) {
  std::vector<int> order(task.load.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return task.load[a] > task.load[b]; });
  int usable = 0, ranks = 0;
  for (const Node& node : nodes) {
    usable += node.places > 0;
    ranks += static_cast<int>(node.ranks.size());
  }
  const double hot = kHot * static_cast<double>(task.total_load()) / ranks;
  for (int e : order) {
    const double load = static_cast<double>(task.load[e]);
    const bool everywhere =
        load > hot && extra >= usable - 1 && std::all_of(nodes.begin(), nodes.end(), [](const Node& n) {
          return n.slots == 0 || static_cast<int>(n.experts.size()) < n.places;
        });
    if (everywhere) {
      extra -= usable - 1;
      for (Node& node : nodes) {
        if (node.slots == 0) continue;
        node.experts.push_back(e);
        node.load += load / usable;
      }
      continue;
    }
    Node* best = nullptr;
    for (Node& node : nodes) {
      if (static_cast<int>(node.experts.size()) >= node.places) continue;
      if (!best || (node.load + load) / node.speed < (best->load + load) / best->speed) best = &node;
    }
    best->experts.push_back(e);
    best->load += load;
  }
}

}  // namespace

SlotTable HierSplitPack(const LayerTask& task) {
  std::vector<Node> nodes = NodesOf(task);
  DealExperts(task, nodes, CountPlaces(task, nodes));

  std::vector<std::vector<Rank>> hosts(task.load.size());
  std::vector<uint32_t> speeds;
  for (size_t n = 0; n < nodes.size(); ++n) {
    speeds.push_back(nodes[n].speed);
    for (int e : nodes[n].experts) hosts[e].push_back(Rank(static_cast<int32_t>(n)));
  }
  const Quotas quotas = BalanceExactly(task.load, hosts, speeds);

  SlotTable table = EmptyTable(task);
  for (size_t n = 0; n < nodes.size(); ++n) {
    LayerTask inside;
    std::vector<int> experts;
    for (int e : nodes[n].experts) {
      const size_t host = static_cast<size_t>(
          std::find(hosts[e].begin(), hosts[e].end(), Rank(static_cast<int32_t>(n))) - hosts[e].begin());
      if (hosts[e].size() > 1 && quotas[e][host] == 0 && task.load[e] > 0) continue;  // a copy without tokens
      experts.push_back(e);
      inside.load.push_back(quotas[e][host]);
    }
    if (experts.empty()) continue;
    for (int g : nodes[n].ranks) {
      inside.slots.push_back(task.slots[g]);
      inside.speeds.push_back(task.speeds[g]);
      inside.node_of_rank.push_back(0);
    }
    const SlotTable packed = SplitPack(inside);
    for (size_t r = 0; r < packed.size(); ++r) {
      for (size_t i = 0; i < packed[r].size(); ++i) {
        if (packed[r][i] != kNoExpert) table[nodes[n].ranks[r]][i] = experts[packed[r][i]];
      }
    }
  }
  return table;
}

}  // namespace ballast
