// coactivation, kmeans and genetic: experts come to the node of what they have in common with. For
// coactivation these are the experts that tokens choose beside them, so that a token sent once per node
// travels to fewer nodes; for kmeans and genetic the sequences that were chosen for the node's ranks
// (LayerView::sources), so that tokens stay there; where no sequences were chosen, theirs are pairs too. They
// differ in how they deal experts to nodes; SplitPack packs each node. All need a sample and several nodes;
// without, they keep what is there.
//
// kmeans and genetic stand in for ScaleMoE's clustering of experts and topology-aware remapping, of which
// only the paper's description is public.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/rng.h"
#include "coordinator/planner/layer/affinity.h"
#include "coordinator/planner/layer/bounds.h"
#include "coordinator/planner/layer/layer_strategy.h"
#include "coordinator/planner/layer/node_labels.h"
#include "coordinator/planner/layer/relabel.h"

namespace ballast {
namespace {

// A new placement must bring so much more of the affinity inside nodes, or so much better a balance.
constexpr double kMinAffinity = 0.01;
constexpr double kMinBalance = 0.05;

constexpr int kRounds = 12;         // of k-means
constexpr size_t kPopulation = 64;  // of the genetic search
constexpr size_t kElite = kPopulation / 8;
constexpr int kGenerationsMax = 60;

class CoactivationBase : public LayerStrategy {
 public:
  StrategyTraits traits() const final {
    return {.needs_tokens = true, .chooses_sequences = follows_sequences(), .slow = true};
  }
  std::optional<LayerChoice> Choose(const LayerView& view) const final {
    const LayerTask& task = view.task;
    const bool by_sequences = follows_sequences() && view.sources != nullptr;
    if (!by_sequences && (!view.together || view.together->experts != task.experts())) return std::nullopt;
    if (task.nodes() < 2 || task.total_load() == 0) return std::nullopt;
    const Affinity affinity = by_sequences ? Affinity::OfSources(*view.sources, task.node_of_rank)
                                           : Affinity::OfPairs(*view.together);
    SlotTable table = PackNodes(task, Deal(view, affinity));
    if (by_sequences) table = NearestRows(task, *view.sources, table);
    if (!CheckTable(task, view.current).ok()) return LayerChoice{KeepIndices(view.current, table), {}};
    const double inside_now = affinity.Inside(LabelsOf(task, view.current));
    const double inside = affinity.Inside(LabelsOf(task, table));
    const double now = PlacedBound(task, view.current);
    const double next = PlacedBound(task, table);
    const bool closer = inside >= inside_now + kMinAffinity &&
                        next <= std::max(now, kNodeLoadCap * SlotBound(task)) * (1 + 1e-9);
    if (!closer && next > (1 - kMinBalance) * now) return std::nullopt;
    if (by_sequences) return LayerChoice{KeepIndices(view.current, table), {}};
    return LayerChoice{Relabel(task, view.current, table, true), {}};
  }

 private:
  virtual bool follows_sequences() const { return true; }
  // Places hold, and no node's load is above the cap or (where single experts are too large) above that of
  // dealing by load.
  virtual NodeLabels Deal(const LayerView& view, const Affinity& affinity) const = 0;
};

NodeLabels BalancedStart(const LayerTask& task) {
  NodeLabels labels = LabelsByLoad(task);
  RepairNodeLoads(task, kNodeLoadCap, labels);
  return labels;
}

// Where one expert is too large for the cap, what dealing by load reaches is the cap.
double CapOf(const LayerTask& task, const NodeLabels& start) {
  return std::max(kNodeLoadCap, NodeOverload(task, start) * (1 + 1e-9));
}

NodeLabels DealByExchange(const LayerView& view, const Affinity& affinity) {
  NodeLabels labels = BalancedStart(view.task);
  int64_t evaluations = view.evaluations_max * 64;
  ExchangeForAffinity(view.task, affinity, CapOf(view.task, labels), evaluations, labels);
  return labels;
}

class CoactivationStrategy final : public CoactivationBase {
  bool follows_sequences() const override { return false; }
  NodeLabels Deal(const LayerView& view, const Affinity& affinity) const override {
    return DealByExchange(view, affinity);
  }
};

using Vector = std::vector<double>;

// What is not zero, by rising index: of thousands of experts a sample has few beside each other.
struct SparseRow {
  std::vector<size_t> at;
  Vector values;
  void Add(size_t index, double value) {
    if (value == 0) return;
    at.push_back(index);
    values.push_back(value);
  }
};

double Dot(const SparseRow& a, const Vector& b) {
  double sum = 0;
  for (size_t i = 0; i < a.at.size(); ++i) sum += a.values[i] * b[a.at[i]];
  return sum;
}

void Normalise(Vector& v) {
  double sum = 0;
  for (double x : v) sum += x * x;
  const double length = std::sqrt(sum);
  for (double& x : v) x = length > 0 ? x / length : 0;
}

Vector Dense(const SparseRow& row, size_t width) {
  Vector dense(width, 0);
  for (size_t i = 0; i < row.at.size(); ++i) dense[row.at[i]] = row.values[i];
  return dense;
}

// With sequences that were clustered for nodes, experts go where most of their tokens are. With pairs alone,
// spherical k-means over the rows of the co-activation matrix. Experts choose in the order of falling load
// among nodes with a place and load left; that can overrun the cap, so exchanges restore it.
class KmeansStrategy final : public CoactivationBase {
 public:
  static NodeLabels DealByClusters(const LayerView& view, const Affinity& affinity) {
    const LayerTask& task = view.task;
    const NodeLabels start = BalancedStart(task);
    NodeLabels labels =
        view.sources ? DealToSources(task, affinity) : ClusterPairs(task, *view.together, start);
    const double cap = CapOf(task, start);
    RepairNodeLoads(task, cap, labels);
    if (NodeOverload(task, labels) > cap) labels = start;
    int64_t evaluations = view.evaluations_max * 64;
    ExchangeForAffinity(task, affinity, cap, evaluations, labels);
    return labels;
  }

 private:
  NodeLabels Deal(const LayerView& view, const Affinity& affinity) const override {
    return DealByClusters(view, affinity);
  }

  // The sequences of a node are its cluster, and what they choose of an expert is how like the expert is to
  // it.
  static NodeLabels DealToSources(const LayerTask& task, const Affinity& affinity) {
    const auto nodes = static_cast<size_t>(task.nodes());
    std::vector<Vector> centroids(nodes, Vector(nodes, 0));
    for (size_t n = 0; n < nodes; ++n) centroids[n][n] = 1;
    std::vector<SparseRow> rows(static_cast<size_t>(task.experts()));
    for (int e = 0; e < task.experts(); ++e) {
      for (size_t n = 0; n < nodes; ++n)
        rows[e].Add(n, static_cast<double>(affinity.to_node(e, static_cast<int>(n))));
      Normalise(rows[e].values);
    }
    return Assign(task, rows, centroids);
  }

  static NodeLabels ClusterPairs(const LayerTask& task, const CoactivationMatrix& together,
                                 const NodeLabels& start) {
    std::vector<SparseRow> rows(static_cast<size_t>(task.experts()));
    for (int e = 0; e < task.experts(); ++e) {
      for (int f = 0; f < task.experts(); ++f)
        rows[e].Add(static_cast<size_t>(f), static_cast<double>(together.at(e, f)));
      Normalise(rows[e].values);
    }
    NodeLabels labels = start;
    std::vector<Vector> centroids = FarthestRows(task, rows);
    for (int round = 0; round < kRounds; ++round) {
      NodeLabels next = Assign(task, rows, centroids);
      const bool same = next == labels;
      labels = std::move(next);
      if (same) break;
      for (Vector& centroid : centroids) std::fill(centroid.begin(), centroid.end(), 0);
      for (int e = 0; e < task.experts(); ++e) {
        for (size_t i = 0; i < rows[e].at.size(); ++i)
          centroids[labels[e]][rows[e].at[i]] += rows[e].values[i];
      }
      for (Vector& centroid : centroids) Normalise(centroid);
    }
    return labels;
  }

  // The first seed is the hottest expert, each next one the least like all seeds so far.
  static std::vector<Vector> FarthestRows(const LayerTask& task, const std::vector<SparseRow>& rows) {
    const auto hottest = std::max_element(task.load.begin(), task.load.end()) - task.load.begin();
    std::vector<Vector> seeds{Dense(rows[static_cast<size_t>(hottest)], rows.size())};
    Vector nearest(rows.size(), -1);  // [expert] likeness to the likest seed
    while (static_cast<int>(seeds.size()) < task.nodes()) {
      size_t farthest = 0;
      double least = 2;
      for (size_t e = 0; e < rows.size(); ++e) {
        nearest[e] = std::max(nearest[e], Dot(rows[e], seeds.back()));
        if (nearest[e] < least) {
          least = nearest[e];
          farthest = e;
        }
      }
      seeds.push_back(Dense(rows[farthest], rows.size()));
    }
    return seeds;
  }

  static NodeLabels Assign(const LayerTask& task, const std::vector<SparseRow>& rows,
                           const std::vector<Vector>& centroids) {
    const std::vector<NodeRoom> room = RoomOfNodes(task);
    std::vector<double> load(room.size(), 0);
    std::vector<int> members(room.size(), 0);
    std::vector<int> order(task.load.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return task.load[a] > task.load[b]; });
    NodeLabels labels(task.load.size(), 0);
    const double allowed = kNodeLoadCap * PerfectBound(task);
    for (int e : order) {
      int best = -1, lightest = -1;
      double most = -1;
      const double own = static_cast<double>(task.load[e]);
      for (size_t n = 0; n < room.size(); ++n) {
        if (members[n] >= room[n].places) continue;
        const double time = (load[n] + own) / room[n].speed;
        if (lightest < 0 || time < (load[lightest] + own) / room[lightest].speed)
          lightest = static_cast<int>(n);
        const double likeness = Dot(rows[e], centroids[n]);
        if (time > allowed || likeness <= most) continue;
        most = likeness;
        best = static_cast<int>(n);
      }
      if (best < 0) best = lightest;
      labels[e] = best;
      load[best] += own;
      ++members[best];
    }
    return labels;
  }
};

// A memetic search: node labels as chromosomes, seeded with dealing by load, the exchange's answer, kmeans'
// answer and the current placement. An individual above the cap or without places is worth less than any
// other; the best ever seen survives, so the answer is never worse than the seeds.
class GeneticStrategy final : public CoactivationBase {
  struct Individual {
    NodeLabels labels;
    double fitness = 0;
  };

  NodeLabels Deal(const LayerView& view, const Affinity& affinity) const override {
    const LayerTask& task = view.task;
    const NodeLabels start = BalancedStart(task);
    const double cap = CapOf(task, start);
    auto fitness = [&](const NodeLabels& labels) {
      const double overload = NodeOverload(task, labels);
      if (!PlacesHold(task, labels)) return -1e9;
      return overload > cap ? -overload : affinity.Inside(labels);
    };
    std::vector<Individual> population;
    for (const NodeLabels& seed :
         {DealByExchange(view, affinity), KmeansStrategy::DealByClusters(view, affinity), start,
          LabelsOf(task, view.current)}) {
      population.push_back({seed, fitness(seed)});
    }
    const size_t seeds = population.size();
    Rng rng(view.seed);
    int64_t evaluations = view.evaluations_max;
    while (population.size() < kPopulation) {
      NodeLabels labels = population[population.size() % seeds].labels;
      for (int i = 0; i < 8; ++i) Mutate(rng, labels);
      population.push_back({labels, fitness(labels)});
      --evaluations;
    }
    const auto better = [](const Individual& a, const Individual& b) { return a.fitness > b.fitness; };
    std::stable_sort(population.begin(), population.end(), better);
    for (int generation = 0; generation < kGenerationsMax && evaluations > 0; ++generation) {
      std::vector<Individual> next(population.begin(), population.begin() + kElite);
      while (next.size() < kPopulation && evaluations > 0) {
        const NodeLabels& mother = Tournament(rng, population).labels;
        const NodeLabels& father = Tournament(rng, population).labels;
        NodeLabels child = mother;
        for (size_t e = 0; e < child.size(); ++e) {
          if (rng.Chance(0.5)) child[e] = father[e];
        }
        RestorePlaces(task, child);
        for (uint64_t n = 1 + rng.Below(3); n > 0; --n) Mutate(rng, child);
        const double value = fitness(child);
        --evaluations;
        next.push_back({std::move(child), value});
      }
      std::stable_sort(next.begin(), next.end(), better);
      population = std::move(next);
    }
    return population.front().fitness >= fitness(start) ? population.front().labels : start;
  }

  static const Individual& Tournament(Rng& rng, const std::vector<Individual>& population) {
    size_t best = rng.Below(population.size());
    for (int i = 0; i < 2; ++i) best = std::min<size_t>(best, rng.Below(population.size()));
    return population[best];  // sorted by falling fitness
  }

  // Two experts exchange their nodes.
  static void Mutate(Rng& rng, NodeLabels& labels) {
    std::swap(labels[rng.Below(labels.size())], labels[rng.Below(labels.size())]);
  }

  // Experts leave overfull nodes for the first with a place.
  static void RestorePlaces(const LayerTask& task, NodeLabels& labels) {
    const std::vector<NodeRoom> room = RoomOfNodes(task);
    std::vector<int> members(room.size(), 0);
    for (int label : labels) ++members[label];
    for (int& label : labels) {
      if (members[label] <= room[label].places) continue;
      for (size_t n = 0; n < room.size(); ++n) {
        if (members[n] >= room[n].places) continue;
        --members[label];
        ++members[n];
        label = static_cast<int>(n);
        break;
      }
    }
  }
};

}  // namespace

LayerStrategyPtr MakeCoactivationStrategy() { return std::make_shared<CoactivationStrategy>(); }
LayerStrategyPtr MakeKmeansStrategy() { return std::make_shared<KmeansStrategy>(); }
LayerStrategyPtr MakeGeneticStrategy() { return std::make_shared<GeneticStrategy>(); }

}  // namespace ballast
