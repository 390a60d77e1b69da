// Sequences clustered by the experts they choose, dealt to ranks, and experts brought to them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "coordinator/planner/layer/affinity.h"
#include "coordinator/planner/layer/bounds.h"
#include "coordinator/planner/layer/cluster_remap.h"
#include "coordinator/planner/layer/layer_strategy.h"
#include "coordinator/planner/layer/node_labels.h"
#include "coordinator/planner/layer/sequence_choice.h"
#include "coordinator/planner/layer/sequence_clusters.h"
#include "tests/planner/layer/planted_sequences.h"

namespace ballast {
namespace {

using testing::DrawSequences;
using testing::PlantedSequences;

TEST(CountSequences, CountsEachLayerAndRefuses) {
  // Two layers of four tokens, two experts each.
  const std::vector<int32_t> choices = {0, 1, 0, 2, 1, 2, 1, 0, 2, 1, 2, 1, 0, 1, 0, 2};
  const SequenceSample sample = CountSequences(choices, 2, 2, 3, 2).value();
  EXPECT_EQ(sample.sequences(), 2);
  EXPECT_EQ(sample.counts, (std::vector<int32_t>{2, 1, 1, 0, 2, 2, 1, 2, 1, 2, 1, 1}));
  EXPECT_EQ(SourcesOf(sample, 1, {1, 0}, 2), (CountMatrix{{2, 1, 1}, {0, 2, 2}}));
  EXPECT_EQ(SourcesOf(sample, 0, {1, 1}, 2), (CountMatrix{{0, 0, 0}, {3, 3, 2}}));
  const auto error = [&](std::vector<int32_t> values, int layers, int k, int experts, int length) {
    return std::string(CountSequences(values, layers, k, experts, length).status().message());
  };
  EXPECT_EQ(error(choices, 2, 2, 3, 0), "sequence-length: found 0, allowed is 1 or more");
  EXPECT_EQ(error(choices, 2, 2, 3, 3),
            "tokens: found 4 in a layer, allowed is a multiple of the sequence length 3");
  EXPECT_EQ(error({}, 1, 1, 3, 2),
            "tokens: found 0 in a layer, allowed is a multiple of the sequence length 2");
  EXPECT_EQ(error({0, 1, 2, 3}, 1, 1, 3, 2), "tokens: layer 0, token 3: found expert 3, allowed is 0..2");
  EXPECT_EQ(error({0, 1, -1, 1}, 2, 1, 3, 2), "tokens: layer 1, token 0: found expert -1, allowed is 0..2");
  EXPECT_EQ(error({1, 1, 0, 1}, 1, 2, 3, 2),
            "tokens: layer 0, token 0: found expert 1 twice, allowed is once");
  EXPECT_EQ(error(std::vector<int32_t>(8, 0), 1, 1, 1 << 25, 1),
            "tokens: found 8 sequences, allowed is 4 for 1 layers of 33554432 experts");
}

std::vector<int> AllOf(const SequenceSample& sample) {
  std::vector<int> all(static_cast<size_t>(sample.sequences()));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

TEST(ClusterSequences, FindsPlantedTopicsAndKeepsSizes) {
  const uint64_t seed = 131;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  for (int round = 0; round < 10; ++round) {
    const PlantedSequences drawn = DrawSequences(rng, 3, 16, 2, 4, 64, 32, 4);
    const SequenceSample sample = CountSequences(drawn.choices, 3, 2, 16, 32).value();
    const std::vector<int> clusters = ClusterSequences(sample, AllOf(sample), {16, 16, 16, 16}, 1);
    std::map<int, std::set<int>> topics;
    for (size_t s = 0; s < clusters.size(); ++s) topics[clusters[s]].insert(drawn.topic_of_sequence[s]);
    for (const auto& [cluster, found] : topics) EXPECT_EQ(found.size(), 1u) << "cluster " << cluster;
    const std::vector<int> sizes = {5, 0, 31, 28};
    const std::vector<int> uneven = ClusterSequences(sample, AllOf(sample), sizes, 2);
    for (int c = 0; c < 4; ++c) {
      EXPECT_EQ(std::count(uneven.begin(), uneven.end(), c), sizes[static_cast<size_t>(c)]);
    }
    EXPECT_EQ(uneven, ClusterSequences(sample, AllOf(sample), sizes, 2)) << "the same every time";
  }
  EXPECT_TRUE(ClusterSequences(SequenceSample{1, 2, 1, {}}, {}, {0, 0}, 1).empty());
}

// The cost by plain loops over pairs: the sum of squared distances to a mean is that over pairs, by size.
double CostByPairs(const SequenceSample& sample, const std::vector<int>& clusters, int count) {
  double cost = 0;
  for (int c = 0; c < count; ++c) {
    double pairs = 0, size = 0;
    for (int a = 0; a < sample.sequences(); ++a) {
      if (clusters[static_cast<size_t>(a)] != c) continue;
      ++size;
      for (int b = 0; b < a; ++b) {
        if (clusters[static_cast<size_t>(b)] != c) continue;
        for (int i = 0; i < sample.width(); ++i) {
          const double gap = std::sqrt(sample.of(a)[i]) - std::sqrt(sample.of(b)[i]);
          pairs += gap * gap;
        }
      }
    }
    if (size > 0) cost += pairs / size;
  }
  return cost;
}

TEST(ClusterSequences, ComesNearTheBestOfAllClusteringsOfSmallSamples) {
  const uint64_t seed = 132;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  double found = 0, best_sum = 0;
  for (int i = 0; i < 60; ++i) {
    // Weak topics: noise decides as often as they do.
    const PlantedSequences drawn = DrawSequences(rng, 2, 6, 1, 3, 10, 12, 2);
    const SequenceSample sample = CountSequences(drawn.choices, 2, 1, 6, 12).value();
    const std::vector<int> clusters = ClusterSequences(sample, AllOf(sample), {5, 5}, rng.Next());
    double best = INFINITY;
    for (int half = 0; half < 1 << 10; ++half) {
      std::vector<int> all;
      for (int s = 0; s < 10; ++s) all.push_back(half >> s & 1);
      if (std::count(all.begin(), all.end(), 1) == 5) best = std::min(best, CostByPairs(sample, all, 2));
    }
    const double cost = CostByPairs(sample, clusters, 2);
    EXPECT_NEAR(ClusterCost(sample, AllOf(sample), clusters, 2), cost, 1e-9 * cost);
    EXPECT_GE(cost, best * (1 - 1e-9));
    found += cost;
    best_sum += best;
  }
  EXPECT_LE(found, 1.02 * best_sum);
}

TEST(RemapClusters, MostlyFindsTheBestOfAllPermutationsAndIsNeverDearerThanItsSeeds) {
  const uint64_t seed = 133;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  int exact = 0;
  for (int i = 0; i < 60; ++i) {
    const size_t ranks = 2 + rng.Below(5);
    CountMatrix covered(ranks, std::vector<int64_t>(ranks, 0));
    std::vector<std::vector<double>> distance(ranks, std::vector<double>(ranks, 0));
    for (size_t a = 0; a < ranks; ++a) {
      for (size_t b = 0; b < ranks; ++b) {
        covered[a][b] = rng.Between(0, 1000);
        if (a != b) distance[a][b] = a / 2 == b / 2 ? 1 : 1 + static_cast<double>(rng.Between(4, 12));
      }
    }
    std::vector<int> order(ranks);
    std::iota(order.begin(), order.end(), 0);
    const double identity = RemapCost(covered, distance, order);
    double best = identity;
    do {
      best = std::min(best, RemapCost(covered, distance, order));
    } while (std::next_permutation(order.begin(), order.end()));
    const std::vector<int> found = RemapClusters(covered, distance, 2000, rng.Next());
    const double cost = RemapCost(covered, distance, found);
    EXPECT_GE(cost, best * (1 - 1e-9));
    EXPECT_LE(cost, 1.05 * best) << "case " << i;
    exact += cost <= best * (1 + 1e-9);
    // Without a budget the seeds remain.
    EXPECT_LE(RemapCost(covered, distance, RemapClusters(covered, distance, 0, 1)), identity);
    EXPECT_TRUE(std::is_permutation(found.begin(), found.end(), order.begin()));
  }
  EXPECT_GE(exact, 57) << "of 60";
}

TEST(ChooseSequences, RanksGetAsManyAsOthersAndTheRemapIsNotDearer) {
  const uint64_t seed = 134;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  for (int round = 0; round < 8; ++round) {
    const int sequences = static_cast<int>(rng.Between(3, 70)), ranks = 8;
    const PlantedSequences drawn = DrawSequences(rng, 2, 12, 2, 3, sequences, 8, 3);
    const SequenceSample sample = CountSequences(drawn.choices, 2, 2, 12, 8).value();
    const std::vector<int> nodes = {0, 1, 0, 1, 2, 2, 3, 3};  // ranks of a node need not be neighbours
    double cost[2];
    for (bool remap : {false, true}) {
      const SequenceChoice choice = ChooseSequences(sample, nodes, remap, 500, 9);
      std::vector<int> counts(static_cast<size_t>(ranks), 0);
      for (int rank : choice.rank_of_sequence) ++counts[static_cast<size_t>(rank)];
      for (int count : counts) {
        EXPECT_GE(count, sequences / ranks);
        EXPECT_LE(count, (sequences + ranks - 1) / ranks);
      }
      EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), 0), sequences);
      for (int l = 0; l < 2; ++l) {
        EXPECT_EQ(choice.sources[static_cast<size_t>(l)],
                  SourcesOf(sample, l, choice.rank_of_sequence, ranks));
      }
      EXPECT_EQ(choice.rank_of_sequence, ChooseSequences(sample, nodes, remap, 500, 9).rank_of_sequence);
      const CountMatrix covered = CoverageOf(choice.sources);
      cost[remap] = 0;
      for (size_t a = 0; a < nodes.size(); ++a) {
        for (size_t b = 0; b < nodes.size(); ++b) {
          if (a != b) {
            cost[remap] += static_cast<double>(covered[a][b]) * (nodes[a] == nodes[b] ? 1 : kNodeDistance);
          }
        }
      }
    }
    EXPECT_LE(cost[1], cost[0] * (1 + 1e-9));
  }
}

// Slots and loads are kept as by every other strategy, and the search is no worse than what it starts from.
TEST(SequenceStrategies, LimitsHoldAndGeneticIsNeverWorseThanItsSeeds) {
  const uint64_t seed = 135;
  Rng rng(seed);
  int compared = 0;
  for (int round = 0; round < 30; ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed) + " round " + std::to_string(round));
    const int experts = 16 * static_cast<int>(rng.Between(1, 2));
    const PlantedSequences drawn = DrawSequences(rng, 1, experts, 2, 4, 32, 16, rng.Chance(0.5) ? 8 : 2);
    const SequenceSample sample = CountSequences(drawn.choices, 1, 2, experts, 16).value();
    const LayerTask task =
        UniformTask(drawn.load[0], 8, experts / 8 + static_cast<int>(rng.Between(0, 2)), 2);
    const SequenceChoice choice = ChooseSequences(sample, task.node_of_rank, false, 500, rng.Next());
    const Affinity affinity = Affinity::OfSources(choice.sources[0], task.node_of_rank);
    NodeLabels exchanged = LabelsByLoad(task);
    RepairNodeLoads(task, kNodeLoadCap, exchanged);
    const double limit = std::max(kNodeLoadCap, NodeOverload(task, exchanged));
    int64_t evaluations = 1'000'000;
    ExchangeForAffinity(task, affinity, limit, evaluations, exchanged);
    const SlotTable current = PackNodes(task, LabelsByLoad(task));
    std::map<std::string, double> inside;
    for (const char* name : {"kmeans", "genetic"}) {
      LayerView view{task, current, {}, RelativeCosts(task, 0, 0)};
      view.sources = &choice.sources[0];
      view.seed = rng.Next();
      view.evaluations_max = 2000;
      const std::optional<LayerChoice> placed = LayerStrategies().Find(name).value()->Choose(view);
      if (!placed) continue;
      ASSERT_TRUE(CheckTable(task, placed->table).ok()) << name;
      const NodeLabels labels = LabelsOf(task, placed->table);
      EXPECT_LE(NodeOverload(task, labels), limit * (1 + 1e-9)) << name;
      inside[name] = affinity.Inside(labels);
    }
    if (inside.size() < 2) continue;
    EXPECT_GE(inside["genetic"], inside["kmeans"] - 1e-12);
    EXPECT_GE(inside["genetic"], affinity.Inside(exchanged) - 1e-12);
    ++compared;
  }
  EXPECT_GE(compared, 15);
}

TEST(NearestRows, EachRankGetsTheRowThatItsTokensWant) {
  const LayerTask task = UniformTask({10, 10, 10, 10, 10, 10, 10, 10}, 4, 2, 2);
  const CountMatrix sources = {
      {0, 0, 9, 9, 0, 0, 0, 0}, {9, 9, 0, 0, 9, 9, 0, 0}, {0, 0, 0, 0, 0, 0, 5, 1}, {9, 9, 9, 9, 0, 0, 4, 1}};
  const SlotTable near = NearestRows(task, sources, {{0, 1}, {2, 3}, {4, 5}, {6, 7}});
  EXPECT_EQ(near, (SlotTable{{2, 3}, {0, 1}, {6, 7}, {4, 5}})) << "rows stay in their node";
}

}  // namespace
}  // namespace ballast
