#include "replay/layer_homes.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace ballast {
namespace {

bool Has(const std::vector<Rank>& ranks, Rank rank) {
  return std::binary_search(ranks.begin(), ranks.end(), rank);
}

// What the busiest rank sends or receives in one step, for one byte of this expert's gradient.
double BusiestCrossing(const std::vector<Rank>& slots, const std::vector<Rank>& homes) {
  const double part = 1.0 / static_cast<double>(homes.size());
  double most = 0;
  for (Rank slot : slots) most = std::max(most, 1 - (Has(homes, slot) ? part : 0));
  for (Rank home : homes)
    most = std::max(most, part * static_cast<double>(slots.size() - (Has(slots, home) ? 1 : 0)));
  return most;
}

}  // namespace

LayerHomes::LayerHomes(const SlotTable& start, int experts, std::vector<int> node_of_rank)
    : node_of_rank_(std::move(node_of_rank)), homes_(HostsOf(start, experts)), rent_(homes_.size(), 0) {}

double LayerHomes::Traffic::Busiest() const {
  return std::max(*std::max_element(in.begin(), in.end()), *std::max_element(out.begin(), out.end()));
}

LayerHomes::Traffic LayerHomes::NoTraffic() const {
  return {std::vector<double>(node_of_rank_.size(), 0), std::vector<double>(node_of_rank_.size(), 0)};
}

void LayerHomes::Add(int from, int to, double bytes, Traffic& nic, Traffic& nvlink) const {
  if (from == to) return;
  Traffic& link = node_of_rank_[from] == node_of_rank_[to] ? nvlink : nic;
  link.out[from] += bytes;
  link.in[to] += bytes;
}

double LayerHomes::Seconds(const Traffic& nic, const Traffic& nvlink, const HomeCosts& costs) const {
  return std::max(nic.Busiest() / (costs.nic_gbs * 1e9), nvlink.Busiest() / (costs.nvlink_gbs * 1e9));
}

double LayerHomes::SyncSeconds(const SlotTable& table, const HomeCosts& costs) const {
  Traffic nic = NoTraffic(), nvlink = NoTraffic();
  const auto hosts = HostsOf(table, static_cast<int>(homes_.size()));
  for (size_t e = 0; e < hosts.size(); ++e) {
    const double part = costs.weight_mb * 1e6 / static_cast<double>(homes_[e].size());
    for (Rank slot : hosts[e]) {
      for (Rank home : homes_[e]) Add(slot.value(), home.value(), part, nic, nvlink);
    }
  }
  // Weights go the other way, over the same links.
  return 2 * Seconds(nic, nvlink, costs);
}

double LayerHomes::Follow(const SlotTable& table, double steps, const HomeCosts& costs) {
  Traffic nic = NoTraffic(), nvlink = NoTraffic();
  const auto hosts = HostsOf(table, static_cast<int>(homes_.size()));
  for (size_t e = 0; e < hosts.size(); ++e) {
    std::vector<Rank>& homes = homes_[e];
    if (hosts[e] == homes) {
      rent_[e] = 0;
      continue;
    }
    // Gradients and weights.
    const double excess = BusiestCrossing(hosts[e], homes) - BusiestCrossing(hosts[e], hosts[e]);
    rent_[e] += std::max(0.0, 2 * excess * costs.weight_mb * 1e6 * steps);
    const double has = 1.0 / static_cast<double>(homes.size()),
                 gets = 1.0 / static_cast<double>(hosts[e].size());
    // What each rank lacks and has too much of, as parts of the state.
    std::vector<std::pair<int, double>> lacks, spare;
    double most = 0;
    for (int g = 0; g < static_cast<int>(node_of_rank_.size()); ++g) {
      const double change = (Has(hosts[e], Rank(g)) ? gets : 0) - (Has(homes, Rank(g)) ? has : 0);
      if (change > 0) lacks.push_back({g, change});
      if (change < 0) spare.push_back({g, -change});
      most = std::max(most, std::abs(change));
    }
    if (rent_[e] < most * costs.state_mb * 1e6) continue;
    for (size_t from = 0, to = 0; from < spare.size() && to < lacks.size();) {
      const double part = std::min(spare[from].second, lacks[to].second);
      Add(spare[from].first, lacks[to].first, part * costs.state_mb * 1e6, nic, nvlink);
      // One of the two is used up; rounding must not leave a crumb of it.
      const bool all = spare[from].second <= lacks[to].second;
      spare[from].second -= part;
      lacks[to].second -= part;
      if (all) {
        ++from;
      } else {
        ++to;
      }
    }
    homes = hosts[e];
    rent_[e] = 0;
  }
  return Seconds(nic, nvlink, costs);
}

}  // namespace ballast
