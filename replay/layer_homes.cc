#include "replay/layer_homes.h"

#include <algorithm>
#include <utility>

namespace ballast {

LayerHomes::LayerHomes(const SlotTable& start, int experts, std::vector<int> node_of_rank, HomeCosts costs)
    : node_of_rank_(std::move(node_of_rank)),
      costs_(std::move(costs)),
      rent_(static_cast<size_t>(experts), 0) {
  for (const std::vector<Rank>& hosts : HostsOf(start, experts))
    homes_.push_back(EvenHomes(hosts, costs_.blocks));
}

double LayerHomes::SyncSeconds(const SlotTable& table) const {
  const std::vector<double> sync = SyncOfRanks(table, homes_, node_of_rank_, costs_);
  return *std::max_element(sync.begin(), sync.end());
}

double LayerHomes::Follow(const SlotTable& table, double steps) {
  const auto hosts = HostsOf(table, static_cast<int>(homes_.size()));
  std::vector<ExpertHomes> next = homes_;
  for (size_t e = 0; e < hosts.size(); ++e) {
    ExpertHomes even = EvenHomes(hosts[e], costs_.blocks);
    if (even == homes_[e]) {
      rent_[e] = 0;
      continue;
    }
    const Rent rent = RentOf(hosts[e], homes_[e], node_of_rank_, costs_);
    rent_[e] += rent.a_step * steps;
    if (rent_[e] < rent.price) continue;
    next[e] = std::move(even);
    rent_[e] = 0;
  }
  const double seconds = MoveCost(homes_, next, node_of_rank_, costs_);
  homes_ = std::move(next);
  return seconds;
}

}  // namespace ballast
