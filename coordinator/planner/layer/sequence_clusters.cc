#include "coordinator/planner/layer/sequence_clusters.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/rng.h"

namespace ballast {
namespace {

constexpr int kStarts = 4;
constexpr int kRoundsMax = 12;
constexpr double kMustGain = 1e-9;

using Rows = std::vector<std::vector<double>>;

Rows RootsOf(const SequenceSample& sample, const std::vector<int>& members) {
  Rows rows;
  for (int s : members) {
    rows.emplace_back();
    rows.back().reserve(static_cast<size_t>(sample.width()));
    for (int i = 0; i < sample.width(); ++i)
      rows.back().push_back(std::sqrt(static_cast<double>(sample.of(s)[i])));
  }
  return rows;
}

double Distance(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

Rows MeansOf(const Rows& rows, const std::vector<int>& clusters, size_t count) {
  Rows means(count, std::vector<double>(rows[0].size(), 0));
  std::vector<double> sizes(count, 0);
  for (size_t m = 0; m < rows.size(); ++m) {
    const auto c = static_cast<size_t>(clusters[m]);
    sizes[c] += 1;
    for (size_t i = 0; i < rows[m].size(); ++i) means[c][i] += rows[m][i];
  }
  for (size_t c = 0; c < count; ++c) {
    for (double& x : means[c]) x = sizes[c] > 0 ? x / sizes[c] : 0;
  }
  return means;
}

// Each next centroid is a row drawn in proportion to its squared distance from those before.
Rows Seeds(const Rows& rows, size_t count, Rng& rng) {
  Rows seeds{rows[rng.Below(rows.size())]};
  std::vector<double> nearest(rows.size(), INFINITY);
  while (seeds.size() < count) {
    double sum = 0;
    for (size_t m = 0; m < rows.size(); ++m) {
      nearest[m] = std::min(nearest[m], Distance(rows[m], seeds.back()));
      sum += nearest[m];
    }
    double at = rng.Uniform() * sum;
    size_t drawn = 0;
    while (drawn + 1 < rows.size() && at >= nearest[drawn]) at -= nearest[drawn++];
    seeds.push_back(rows[drawn]);
  }
  return seeds;
}

// Members dealt to clusters of fixed sizes, near their centroids.
class Dealer {
 public:
  Dealer(const Rows& rows, const Rows& centroids) : members_(rows.size()), count_(centroids.size()) {
    distance_.reserve(members_ * count_);
    for (const std::vector<double>& row : rows) {
      for (const std::vector<double>& centroid : centroids) distance_.push_back(Distance(row, centroid));
    }
  }

  std::vector<int> Deal(const std::vector<int>& sizes) const {
    std::vector<size_t> order(members_);
    std::iota(order.begin(), order.end(), size_t{0});
    std::vector<double> regret;
    for (size_t m = 0; m < members_; ++m) regret.push_back(Regret(m));
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return regret[a] > regret[b]; });
    std::vector<int> left = sizes, clusters(members_, -1);
    for (size_t m : order) {
      size_t best = count_;
      for (size_t c = 0; c < count_; ++c) {
        if (left[c] > 0 && (best == count_ || At(m, c) < At(m, best))) best = c;
      }
      clusters[m] = static_cast<int>(best);
      --left[best];
    }
    Exchange(clusters);
    return clusters;
  }

 private:
  double At(size_t member, size_t cluster) const { return distance_[member * count_ + cluster]; }
  // What a member loses when the nearest centroid has no room.
  double Regret(size_t member) const {
    double first = INFINITY, second = INFINITY;
    for (size_t c = 0; c < count_; ++c) {
      const double d = At(member, c);
      if (d < first) {
        second = first;
        first = d;
      } else {
        second = std::min(second, d);
      }
    }
    return std::isinf(second) ? 0 : second - first;
  }
  // Of two clusters those two members exchange that gain most, as long as any pair gains. Every exchange
  // lowers the sum of distances, so that it ends.
  void Exchange(std::vector<int>& clusters) const {
    std::vector<std::vector<size_t>> held(count_);
    for (size_t m = 0; m < members_; ++m) held[static_cast<size_t>(clusters[m])].push_back(m);
    bool found = true;
    while (found) {
      found = false;
      for (size_t a = 0; a < count_; ++a) {
        for (size_t b = a + 1; b < count_; ++b) {
          while (ExchangeBest(held[a], a, held[b], b)) found = true;
        }
      }
    }
    for (size_t c = 0; c < count_; ++c) {
      for (size_t m : held[c]) clusters[m] = static_cast<int>(c);
    }
  }
  bool ExchangeBest(std::vector<size_t>& held_a, size_t a, std::vector<size_t>& held_b, size_t b) const {
    const auto leaves = [&](const std::vector<size_t>& held, size_t from, size_t to) {
      size_t best = 0;
      for (size_t i = 1; i < held.size(); ++i) {
        if (At(held[i], from) - At(held[i], to) > At(held[best], from) - At(held[best], to)) best = i;
      }
      return best;
    };
    if (held_a.empty() || held_b.empty()) return false;
    size_t& x = held_a[leaves(held_a, a, b)];
    size_t& y = held_b[leaves(held_b, b, a)];
    if (At(x, a) - At(x, b) + At(y, b) - At(y, a) <= kMustGain) return false;
    std::swap(x, y);
    return true;
  }

  const size_t members_, count_;
  std::vector<double> distance_;  // [member * clusters + cluster]
};

double CostOf(const Rows& rows, const std::vector<int>& clusters, size_t count) {
  const Rows means = MeansOf(rows, clusters, count);
  double sum = 0;
  for (size_t m = 0; m < rows.size(); ++m) sum += Distance(rows[m], means[static_cast<size_t>(clusters[m])]);
  return sum;
}

}  // namespace

std::vector<int> ClusterSequences(const SequenceSample& sample, const std::vector<int>& members,
                                  const std::vector<int>& sizes, uint64_t seed) {
  BALLAST_CHECK(std::accumulate(sizes.begin(), sizes.end(), size_t{0}) == members.size())
      << "sizes of clusters do not sum to " << members.size();
  if (members.empty()) return {};
  const Rows rows = RootsOf(sample, members);
  std::vector<int> best;
  double best_cost = INFINITY;
  for (int start = 0; start < kStarts; ++start) {
    Rng rng(HashSeed({seed, static_cast<uint64_t>(start)}));
    Rows centroids = Seeds(rows, sizes.size(), rng);
    std::vector<int> clusters;
    for (int round = 0; round < kRoundsMax; ++round) {
      std::vector<int> next = Dealer(rows, centroids).Deal(sizes);
      if (next == clusters) break;
      clusters = std::move(next);
      centroids = MeansOf(rows, clusters, sizes.size());
    }
    const double cost = CostOf(rows, clusters, sizes.size());
    if (cost >= best_cost) continue;
    best_cost = cost;
    best = std::move(clusters);
  }
  return best;
}

double ClusterCost(const SequenceSample& sample, const std::vector<int>& members,
                   const std::vector<int>& clusters, int count) {
  return members.empty() ? 0 : CostOf(RootsOf(sample, members), clusters, static_cast<size_t>(count));
}

}  // namespace ballast
