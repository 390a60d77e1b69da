#include "coordinator/planner/layer/home_traffic.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "base/math.h"

namespace ballast {
namespace {

// Bytes by rank: into and out of it, between nodes and inside its node.
class Traffic {
 public:
  Traffic(const std::vector<int>& node_of_rank, const HomeCosts& costs)
      : node_of_rank_(node_of_rank), costs_(costs), bytes_(node_of_rank.size(), {0, 0, 0, 0}) {}

  void Add(int from, int to, double bytes) {
    if (from == to) return;
    const size_t link = node_of_rank_[from] == node_of_rank_[to] ? 2 : 0;
    bytes_[from][link] += bytes;
    bytes_[to][link + 1] += bytes;
  }

  // Of the rank's busiest link; both kinds work at once.
  double CostOf(size_t rank) const {
    const auto& [out, in, inside_out, inside_in] = bytes_[rank];
    const double slow = costs_.slowdowns.empty() ? 1 : costs_.slowdowns[rank];
    return std::max(costs_.nic * slow * std::max(out, in), costs_.nvlink * std::max(inside_out, inside_in));
  }

  double Busiest() const {
    double most = 0;
    for (size_t g = 0; g < bytes_.size(); ++g) most = std::max(most, CostOf(g));
    return most;
  }

 private:
  const std::vector<int>& node_of_rank_;
  const HomeCosts& costs_;
  std::vector<std::array<double, 4>> bytes_;
};

void AddGradients(const std::vector<Rank>& hosts, const ExpertHomes& homes, double bytes, Traffic& traffic) {
  for (Rank slot : hosts) {
    for (const HomeShare& home : homes) traffic.Add(slot.value(), home.rank, home.part * bytes);
  }
}

// State from homes that own too much to homes that lack some.
void AddMoves(const ExpertHomes& from, const ExpertHomes& to, double bytes, Traffic& traffic) {
  std::vector<std::pair<int, double>> lacks, spare;
  size_t f = 0, t = 0;
  while (f < from.size() || t < to.size()) {
    const bool old = t == to.size() || (f < from.size() && from[f].rank <= to[t].rank);
    const bool next = f == from.size() || (t < to.size() && to[t].rank <= from[f].rank);
    const int rank = old ? from[f].rank : to[t].rank;
    const double change = (next ? to[t].part : 0) - (old ? from[f].part : 0);
    if (change > 0) lacks.push_back({rank, change});
    if (change < 0) spare.push_back({rank, -change});
    f += old;
    t += next;
  }
  for (size_t s = 0, l = 0; s < spare.size() && l < lacks.size();) {
    const double part = std::min(spare[s].second, lacks[l].second);
    traffic.Add(spare[s].first, lacks[l].first, part * bytes);
    // One of the two is used up; rounding must not leave a crumb of it.
    const bool all = spare[s].second <= lacks[l].second;
    spare[s].second -= part;
    lacks[l].second -= part;
    ++(all ? s : l);
  }
}

// The ranks that matter to one expert, renumbered from 0 so that its traffic is small.
class Renumbered {
 public:
  Renumbered(const std::vector<Rank>& hosts, const ExpertHomes& homes, const std::vector<int>& node_of_rank,
             const HomeCosts& costs)
      : costs_(costs) {
    for (Rank host : hosts) ranks_.push_back(host.value());
    for (const HomeShare& home : homes) ranks_.push_back(home.rank);
    std::sort(ranks_.begin(), ranks_.end());
    ranks_.erase(std::unique(ranks_.begin(), ranks_.end()), ranks_.end());
    costs_.slowdowns.clear();
    for (int rank : ranks_) {
      nodes_.push_back(node_of_rank[rank]);
      if (!costs.slowdowns.empty()) costs_.slowdowns.push_back(costs.slowdowns[rank]);
    }
  }
  int Number(int rank) const {
    return static_cast<int>(std::lower_bound(ranks_.begin(), ranks_.end(), rank) - ranks_.begin());
  }
  const std::vector<int>& nodes() const { return nodes_; }
  const HomeCosts& costs() const { return costs_; }

 private:
  std::vector<int> ranks_, nodes_;
  HomeCosts costs_;
};

}  // namespace

ExpertHomes EvenHomes(const std::vector<Rank>& hosts, int blocks) {
  BALLAST_CHECK(!hosts.empty()) << "an expert without a slot";
  const auto count = static_cast<int64_t>(hosts.size());
  ExpertHomes homes;
  for (int64_t i = 0; i < count; ++i) {
    const double part =
        blocks == 0
            ? 1.0 / static_cast<double>(count)
            : static_cast<double>(PartBegin(blocks, count, i + 1) - PartBegin(blocks, count, i)) / blocks;
    if (part > 0) homes.push_back({hosts[static_cast<size_t>(i)].value(), part});
  }
  return homes;
}

std::vector<double> SyncOfRanks(const SlotTable& table, const std::vector<ExpertHomes>& homes,
                                const std::vector<int>& node_of_rank, const HomeCosts& costs) {
  Traffic traffic(node_of_rank, costs);
  const auto hosts = HostsOf(table, static_cast<int>(homes.size()));
  for (size_t e = 0; e < hosts.size(); ++e) AddGradients(hosts[e], homes[e], costs.weight_bytes, traffic);
  std::vector<double> sync;
  // Weights go the other way, over the same links.
  for (size_t g = 0; g < node_of_rank.size(); ++g) sync.push_back(2 * traffic.CostOf(g));
  return sync;
}

double MoveCost(const std::vector<ExpertHomes>& from, const std::vector<ExpertHomes>& to,
                const std::vector<int>& node_of_rank, const HomeCosts& costs) {
  Traffic traffic(node_of_rank, costs);
  for (size_t e = 0; e < from.size(); ++e) {
    if (from[e] != to[e]) AddMoves(from[e], to[e], costs.state_bytes, traffic);
  }
  return traffic.Busiest();
}

Rent RentOf(const std::vector<Rank>& hosts, const ExpertHomes& homes, const std::vector<int>& node_of_rank,
            const HomeCosts& costs) {
  const Renumbered few(hosts, homes, node_of_rank, costs);
  std::vector<Rank> slots;
  for (Rank host : hosts) slots.push_back(Rank(few.Number(host.value())));
  ExpertHomes now;
  for (const HomeShare& home : homes) now.push_back({few.Number(home.rank), home.part});
  const ExpertHomes then = EvenHomes(slots, costs.blocks);
  Traffic away(few.nodes(), few.costs()), settled(few.nodes(), few.costs()), moves(few.nodes(), few.costs());
  AddGradients(slots, now, costs.weight_bytes, away);
  AddGradients(slots, then, costs.weight_bytes, settled);
  AddMoves(now, then, costs.state_bytes, moves);
  return {std::max(0.0, 2 * (away.Busiest() - settled.Busiest())), moves.Busiest()};
}

std::vector<ExpertHomes> FollowedHomes(const SlotTable& table, const HomePricing& pricing,
                                       const std::vector<int>& node_of_rank, double periods) {
  std::vector<ExpertHomes> homes = pricing.homes;
  const auto hosts = HostsOf(table, static_cast<int>(homes.size()));
  for (size_t e = 0; e < homes.size(); ++e) {
    if (hosts[e].empty()) continue;
    ExpertHomes even = EvenHomes(hosts[e], pricing.costs.blocks);
    if (even == homes[e]) continue;
    const Rent rent = RentOf(hosts[e], homes[e], node_of_rank, pricing.costs);
    if (rent.a_step > 0 && rent.a_step * periods >= rent.price) homes[e] = std::move(even);
  }
  return homes;
}

}  // namespace ballast
