#include "coordinator/planner/layer/affinity.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "coordinator/planner/layer/relabel.h"

namespace ballast {

Affinity Affinity::OfPairs(const CoactivationMatrix& together) {
  Affinity affinity;
  affinity.together_ = &together;
  return affinity;
}

Affinity Affinity::OfSources(const CountMatrix& sources, const std::vector<int>& node_of_rank) {
  Affinity affinity;
  affinity.nodes_ = 1 + static_cast<size_t>(*std::max_element(node_of_rank.begin(), node_of_rank.end()));
  affinity.own_.assign(sources[0].size() * affinity.nodes_, 0);
  for (size_t g = 0; g < sources.size(); ++g) {
    for (size_t e = 0; e < sources[g].size(); ++e) {
      affinity.own_[e * affinity.nodes_ + static_cast<size_t>(node_of_rank[g])] += sources[g][e];
    }
  }
  return affinity;
}

double Affinity::Inside(const NodeLabels& labels) const {
  if (together_) return PairsInside(*together_, labels);
  int64_t inside = 0, all = 0;
  for (size_t e = 0; e < labels.size(); ++e) {
    for (size_t n = 0; n < nodes_; ++n) {
      const int64_t tokens = own_[e * nodes_ + n];
      all += tokens;
      if (static_cast<size_t>(labels[e]) == n) inside += tokens;
    }
  }
  return all > 0 ? static_cast<double>(inside) / static_cast<double>(all) : 1;
}

double PairsInside(const CoactivationMatrix& together, const NodeLabels& labels) {
  int64_t inside = 0, all = 0;
  for (int a = 0; a < together.experts; ++a) {
    for (int b = 0; b < a; ++b) {
      all += together.at(a, b);
      if (labels[a] == labels[b]) inside += together.at(a, b);
    }
  }
  return all > 0 ? static_cast<double>(inside) / static_cast<double>(all) : 1;
}

SlotTable NearestRows(const LayerTask& task, const CountMatrix& sources, const SlotTable& table) {
  std::map<std::tuple<int, int, uint32_t>, std::vector<size_t>> alike;
  for (size_t g = 0; g < table.size(); ++g) {
    alike[{task.node_of_rank[g], task.slots[g], task.speeds[g]}].push_back(g);
  }
  SlotTable near = table;
  for (const auto& [kind, ranks] : alike) {
    std::vector<std::vector<int64_t>> gain(ranks.size(), std::vector<int64_t>(ranks.size(), 0));
    for (size_t row = 0; row < ranks.size(); ++row) {
      for (size_t to = 0; to < ranks.size(); ++to) {
        for (int e : table[ranks[row]]) {
          if (e != kNoExpert) gain[row][to] += sources[ranks[to]][static_cast<size_t>(e)];
        }
      }
    }
    const std::vector<int> rank_of_row = MaxAssignment(gain);
    for (size_t row = 0; row < ranks.size(); ++row) {
      near[ranks[static_cast<size_t>(rank_of_row[row])]] = table[ranks[row]];
    }
  }
  return near;
}

}  // namespace ballast
