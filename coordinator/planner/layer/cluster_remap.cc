#include "coordinator/planner/layer/cluster_remap.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/rng.h"

namespace ballast {
namespace {

constexpr size_t kPopulation = 64;
constexpr size_t kElite = kPopulation / 8;
constexpr int kGenerationsMax = 100;
constexpr double kPolished = 0.1;   // so many children exchange pairs until none gains
constexpr double kMustGain = 1e-9;  // of the cost

using Order = std::vector<int>;  // [rank] -> cluster

class Search {
 public:
  Search(const CountMatrix& covered, const std::vector<std::vector<double>>& distance, int64_t evaluations,
         uint64_t seed)
      : covered_(covered), distance_(distance), evaluations_(evaluations), rng_(seed) {}

  Order Run() {
    Order identity(covered_.size());
    std::iota(identity.begin(), identity.end(), 0);
    std::vector<Individual> population;
    for (const Order& seed : {identity, Greedy()}) {
      population.push_back(Judged(seed));
      population.push_back(Judged(Exchanged(seed)));
    }
    if (identity.size() < 3) return Best(population).order;
    const size_t seeds = population.size();
    while (population.size() < kPopulation && evaluations_ > 0) {
      Order order = population[population.size() % seeds].order;
      for (int i = 0; i < 4; ++i) Mutate(order);
      population.push_back(Judged(std::move(order)));
      --evaluations_;
    }
    Sort(population);
    for (int generation = 0; generation < kGenerationsMax && evaluations_ > 0; ++generation) {
      std::vector<Individual> next(population.begin(), population.begin() + static_cast<ptrdiff_t>(std::min(
                                                                                kElite, population.size())));
      while (next.size() < kPopulation && evaluations_ > 0) {
        const Order& mother = Tournament(population);
        const Order& father = Tournament(population);
        Order child = Cross(mother, father);
        if (rng_.Chance(0.5)) Mutate(child);
        if (rng_.Chance(kPolished)) child = Exchanged(std::move(child));
        next.push_back(Judged(std::move(child)));
        --evaluations_;
      }
      Sort(next);
      population = std::move(next);
    }
    return population.front().order;
  }

 private:
  struct Individual {
    Order order;
    double cost = 0;
  };
  static bool Cheaper(const Individual& a, const Individual& b) { return a.cost < b.cost; }
  static void Sort(std::vector<Individual>& all) { std::stable_sort(all.begin(), all.end(), Cheaper); }
  static const Individual& Best(const std::vector<Individual>& all) {
    return *std::min_element(all.begin(), all.end(), Cheaper);
  }
  Individual Judged(Order order) const {
    const double cost = RemapCost(covered_, distance_, order);
    return {std::move(order), cost};
  }
  const Order& Tournament(const std::vector<Individual>& population) {
    size_t best = rng_.Below(population.size());
    for (int i = 0; i < 2; ++i) best = std::min<size_t>(best, rng_.Below(population.size()));
    return population[best].order;  // sorted by rising cost
  }
  void Mutate(Order& order) { std::swap(order[rng_.Below(order.size())], order[rng_.Below(order.size())]); }

  // Uniform order-based crossover: some ranks keep the mother's clusters, the others get what is left in the
  // father's order.
  Order Cross(const Order& mother, const Order& father) {
    Order child(mother.size(), -1);
    std::vector<char> taken(mother.size(), 0);
    for (size_t r = 0; r < child.size(); ++r) {
      if (!rng_.Chance(0.5)) continue;
      child[r] = mother[r];
      taken[static_cast<size_t>(child[r])] = 1;
    }
    size_t next = 0;
    for (int& cluster : child) {
      if (cluster >= 0) continue;
      while (taken[static_cast<size_t>(father[next])]) ++next;
      cluster = father[next++];
    }
    return child;
  }

  double Traffic(size_t a, size_t b) const { return static_cast<double>(covered_[a][b] + covered_[b][a]); }
  double Apart(size_t i, size_t j) const { return distance_[i][j] + distance_[j][i]; }

  // Rank by rank the cluster that has most in common with those already near.
  Order Greedy() const {
    Order order;
    std::vector<char> taken(covered_.size(), 0);
    for (size_t r = 0; r < covered_.size(); ++r) {
      size_t best = covered_.size();
      double most = 0;
      for (size_t c = 0; c < covered_.size(); ++c) {
        if (taken[c]) continue;
        double near = 0;
        for (size_t j = 0; j < r; ++j) near += Traffic(c, static_cast<size_t>(order[j])) / (1 + Apart(r, j));
        if (best == covered_.size() || near > most) {
          best = c;
          most = near;
        }
      }
      taken[best] = 1;
      order.push_back(static_cast<int>(best));
    }
    return order;
  }

  // Pairs of ranks exchange clusters as long as one pair gains.
  Order Exchanged(Order order) const {
    double cost = RemapCost(covered_, distance_, order);
    for (bool found = true; found;) {
      found = false;
      for (size_t i = 0; i < order.size(); ++i) {
        for (size_t j = i + 1; j < order.size(); ++j) {
          const double change = ChangeOf(order, i, j);
          if (change >= -kMustGain * cost) continue;
          std::swap(order[i], order[j]);
          cost += change;
          found = true;
        }
      }
    }
    return order;
  }
  double ChangeOf(const Order& order, size_t i, size_t j) const {
    const auto cluster = [&](size_t r) { return static_cast<size_t>(order[r]); };
    const auto pair = [&](size_t to, size_t from, size_t to_cluster, size_t from_cluster) {
      return distance_[to][from] * static_cast<double>(covered_[to_cluster][from_cluster]);
    };
    double change = pair(i, j, cluster(j), cluster(i)) + pair(j, i, cluster(i), cluster(j)) -
                    pair(i, j, cluster(i), cluster(j)) - pair(j, i, cluster(j), cluster(i));
    for (size_t r = 0; r < order.size(); ++r) {
      if (r == i || r == j) continue;
      change += pair(i, r, cluster(j), cluster(r)) - pair(i, r, cluster(i), cluster(r));
      change += pair(r, i, cluster(r), cluster(j)) - pair(r, i, cluster(r), cluster(i));
      change += pair(j, r, cluster(i), cluster(r)) - pair(j, r, cluster(j), cluster(r));
      change += pair(r, j, cluster(r), cluster(i)) - pair(r, j, cluster(r), cluster(j));
    }
    return change;
  }

  const CountMatrix& covered_;
  const std::vector<std::vector<double>>& distance_;
  int64_t evaluations_;
  Rng rng_;
};

}  // namespace

double RemapCost(const CountMatrix& covered, const std::vector<std::vector<double>>& distance,
                 const std::vector<int>& cluster_of_rank) {
  double cost = 0;
  for (size_t i = 0; i < cluster_of_rank.size(); ++i) {
    for (size_t j = 0; j < cluster_of_rank.size(); ++j) {
      cost += distance[i][j] *
              static_cast<double>(
                  covered[static_cast<size_t>(cluster_of_rank[i])][static_cast<size_t>(cluster_of_rank[j])]);
    }
  }
  return cost;
}

std::vector<int> RemapClusters(const CountMatrix& covered, const std::vector<std::vector<double>>& distance,
                               int64_t evaluations, uint64_t seed) {
  BALLAST_CHECK(covered.size() == distance.size())
      << covered.size() << " clusters, " << distance.size() << " ranks";
  if (covered.empty()) return {};
  return Search(covered, distance, evaluations, seed).Run();
}

}  // namespace ballast
