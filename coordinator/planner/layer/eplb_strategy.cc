// EPLB (DeepSeek, 2025): copies in proportion to load, copies packed in equal numbers, tokens split evenly
// over copies. Hierarchical: experts are first dealt to nodes, so that copies of one expert share a node.
//
// The original counts every slot and may give one rank two copies of an expert; here such a rank has one slot
// that takes both shares. Always adopted, as the original does. Unequal slots and speeds: copies go to the
// least loaded rank for its speed that has a slot left.
#include <algorithm>
#include <numeric>

#include "coordinator/planner/layer/layer_strategy.h"

namespace ballast {
namespace {

struct Item {
  double weight = 0;
  int id = 0;
};

// Bins: slots and speed of each. Heaviest item first to the bin that is then least loaded for its speed among
// those with room. [item index] -> bin; item indices are positions in `items`.
std::vector<int> PackBalanced(const std::vector<Item>& items, std::vector<int> room,
                              const std::vector<double>& speed) {
  std::vector<size_t> order(items.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return items[a].weight > items[b].weight; });
  std::vector<double> load(room.size(), 0);
  std::vector<int> bin(items.size(), 0);
  for (size_t i : order) {
    int best = -1;
    for (size_t b = 0; b < room.size(); ++b) {
      if (room[b] > 0 && (best < 0 || load[b] / speed[b] < load[best] / speed[best]))
        best = static_cast<int>(b);
    }
    bin[i] = best;
    --room[best];
    load[best] += items[i].weight;
  }
  return bin;
}

// Copies of the experts of `ids` until `places` are used: each next one to the largest load per copy.
std::vector<Item> Replicate(const std::vector<int64_t>& load, const std::vector<int>& ids, int places) {
  std::vector<int> copies(ids.size(), 1);
  for (int extra = places - static_cast<int>(ids.size()); extra > 0; --extra) {
    size_t hottest = 0;
    for (size_t i = 1; i < ids.size(); ++i) {
      if (static_cast<double>(load[ids[i]]) * copies[hottest] >
          static_cast<double>(load[ids[hottest]]) * copies[i]) {
        hottest = i;
      }
    }
    ++copies[hottest];
  }
  std::vector<Item> items;
  for (size_t i = 0; i < ids.size(); ++i) {
    for (int c = 0; c < copies[i]; ++c)
      items.push_back({static_cast<double>(load[ids[i]]) / copies[i], ids[i]});
  }
  return items;
}

class EplbStrategy final : public LayerStrategy {
 public:
  explicit EplbStrategy(bool hierarchical) : hierarchical_(hierarchical) {}

  std::optional<LayerChoice> Choose(const LayerView& view) const override {
    const LayerTask& task = view.task;
    if (task.total_load() == 0) return std::nullopt;
    std::vector<std::vector<int>> copies(task.slots.size());  // [rank] -> expert per copy
    std::vector<int> all(task.load.size());
    std::iota(all.begin(), all.end(), 0);
    std::vector<int> ranks(task.slots.size());
    std::iota(ranks.begin(), ranks.end(), 0);
    const std::vector<std::vector<int>> nodes =
        hierarchical_ ? RanksOfNodes(task) : std::vector<std::vector<int>>{ranks};
    const std::vector<int> node_of_expert = DealToNodes(task, nodes);
    for (size_t n = 0; n < nodes.size(); ++n) {
      std::vector<int> ids;
      for (int e : all) {
        if (node_of_expert[e] == static_cast<int>(n)) ids.push_back(e);
      }
      if (!ids.empty()) PlaceInside(task, nodes[n], ids, copies);
    }
    return Finish(task, view.current, copies);
  }

 private:
  static std::vector<std::vector<int>> RanksOfNodes(const LayerTask& task) {
    std::vector<std::vector<int>> nodes(static_cast<size_t>(task.nodes()));
    for (int g = 0; g < task.ranks(); ++g) nodes[task.node_of_rank[g]].push_back(g);
    return nodes;
  }

  // Equal numbers of experts by falling load; a node holds no more than it has slots.
  static std::vector<int> DealToNodes(const LayerTask& task, const std::vector<std::vector<int>>& nodes) {
    std::vector<Item> items;
    for (int e = 0; e < task.experts(); ++e) items.push_back({static_cast<double>(task.load[e]), e});
    std::vector<int> room;
    std::vector<double> speed;
    for (const std::vector<int>& node : nodes) {
      room.push_back(0);
      speed.push_back(1e-9);
      for (int g : node) {
        room.back() += task.slots[g];
        speed.back() += task.slots[g] > 0 ? task.speeds[g] : 0;
      }
    }
    // Equal numbers where the slots allow it.
    const int share = (task.experts() + static_cast<int>(nodes.size()) - 1) / static_cast<int>(nodes.size());
    std::vector<int> capped;
    for (int r : room) capped.push_back(std::min(r, share));
    if (std::accumulate(capped.begin(), capped.end(), 0) >= task.experts()) room = capped;
    return PackBalanced(items, room, speed);
  }

  static void PlaceInside(const LayerTask& task, const std::vector<int>& node, const std::vector<int>& ids,
                          std::vector<std::vector<int>>& copies) {
    std::vector<int> room;
    std::vector<double> speed;
    for (int g : node) {
      room.push_back(task.slots[g]);
      speed.push_back(task.speeds[g]);
    }
    const std::vector<Item> items = Replicate(task.load, ids, std::accumulate(room.begin(), room.end(), 0));
    const std::vector<int> bin = PackBalanced(items, room, speed);
    for (size_t i = 0; i < items.size(); ++i) copies[node[bin[i]]].push_back(items[i].id);
  }

  // Copies -> slots and shares.
  static LayerChoice Finish(const LayerTask& task, const SlotTable& current,
                            const std::vector<std::vector<int>>& copies) {
    SlotTable table = EmptyTable(task);
    for (size_t g = 0; g < copies.size(); ++g) {
      size_t used = 0;
      for (int e : copies[g]) {
        if (!Holds(table[g], e)) table[g][used++] = e;
      }
    }
    LayerChoice choice;
    choice.table = KeepIndices(current, table);
    std::vector<std::vector<int64_t>> weights(task.load.size());  // copies per host
    for (const std::vector<int>& rank : copies) {
      for (int e = 0; e < task.experts(); ++e) {
        const int64_t here = std::count(rank.begin(), rank.end(), e);
        if (here > 0) weights[e].push_back(here);
      }
    }
    choice.fractions = FractionsOf(choice.table, weights);
    return choice;
  }

  const bool hierarchical_;
};

}  // namespace

LayerStrategyPtr MakeEplbStrategy(bool hierarchical) { return std::make_shared<EplbStrategy>(hierarchical); }

}  // namespace ballast
