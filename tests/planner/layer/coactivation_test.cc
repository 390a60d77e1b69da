// Strategies that bring experts of one token to one node.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "coordinator/planner/layer/bounds.h"
#include "coordinator/planner/layer/layer_strategy.h"
#include "coordinator/planner/layer/node_labels.h"
#include "tests/planner/layer/checkers.h"

namespace ballast {
namespace {

// Tokens of latent topics: each topic favours a random set of experts.
struct Sample {
  std::vector<std::vector<int>> train, held_out;
  std::vector<int64_t> load;
};

Sample DrawTopics(uint64_t seed, int experts, int topics, int k, int tokens) {
  Rng rng(seed);
  std::vector<std::vector<double>> weight(static_cast<size_t>(topics));
  for (std::vector<double>& w : weight) {
    for (int e = 0; e < experts; ++e) w.push_back(rng.Chance(1.0 / topics) ? 1.0 + rng.Uniform() : 0.02);
  }
  Sample sample;
  sample.load.assign(static_cast<size_t>(experts), 0);
  for (int t = 0; t < tokens; ++t) {
    std::vector<double> w = weight[rng.Below(static_cast<uint64_t>(topics))];
    std::vector<int> chosen;
    for (int i = 0; i < k; ++i) {
      double sum = 0;
      for (double x : w) sum += x;
      double at = rng.Uniform() * sum;
      size_t e = 0;
      while (e + 1 < w.size() && at >= w[e]) at -= w[e++];
      chosen.push_back(static_cast<int>(e));
      w[e] = 0;
    }
    for (int e : chosen) ++sample.load[static_cast<size_t>(e)];
    (t % 2 ? sample.train : sample.held_out).push_back(chosen);
  }
  return sample;
}

// Mean number of nodes that a token of `tokens` needs.
double NodesPerToken(const std::vector<std::vector<int>>& tokens, const NodeLabels& labels) {
  double sum = 0;
  for (const std::vector<int>& token : tokens) {
    std::set<int> nodes;
    for (int e : token) nodes.insert(labels[static_cast<size_t>(e)]);
    sum += static_cast<double>(nodes.size());
  }
  return sum / static_cast<double>(tokens.size());
}

TEST(Coactivation, TokensNeedFewerNodesAtTheSameBalance) {
  const uint64_t seed = 91;
  SCOPED_TRACE(seed);
  const int experts = 256;
  const Sample sample = DrawTopics(seed, experts, 16, 8, 8000);
  const CoactivationMatrix together = CountPairs(sample.train, experts).value();
  const LayerTask task = UniformTask(sample.load, 64, 5, 8);
  const NodeLabels by_load = LabelsByLoad(task);
  const double yardstick = NodesPerToken(sample.held_out, by_load);
  const SlotTable current = PackNodes(task, by_load);
  double exchanged = 0;
  for (const char* name : {"coactivation", "kmeans", "genetic"}) {
    LayerView view{task, current, {}, RelativeCosts(task, 0, 0)};
    view.together = &together;
    view.seed = 7;
    const std::optional<LayerChoice> choice = LayerStrategies().Find(name).value()->Choose(view);
    ASSERT_TRUE(choice) << name;
    const NodeLabels labels = LabelsOf(task, choice->table);
    EXPECT_LE(NodesPerToken(sample.held_out, labels), 0.85 * yardstick) << name;
    EXPECT_LE(NodeOverload(task, labels), kNodeLoadCap) << name;
    const double pairs = PairsInside(together, labels);
    if (std::string(name) == "coactivation") exchanged = pairs;
    if (std::string(name) == "genetic") {
      EXPECT_GE(pairs, exchanged) << "worse than its seed";
    }
    // Without a sample there is nothing to go by.
    view.together = nullptr;
    EXPECT_FALSE(LayerStrategies().Find(name).value()->Choose(view));
  }
}

TEST(Coactivation, LimitsHoldAndGeneticIsNeverWorseThanItsSeed) {
  const uint64_t seed = 94;
  Rng rng(seed);
  int compared = 0;
  for (int round = 0; round < 60; ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed) + " round " + std::to_string(round));
    const int experts = 16 * static_cast<int>(rng.Between(1, 3));
    const Sample sample = DrawTopics(rng.Next(), experts, 4, 2, 300);
    const CoactivationMatrix together = CountPairs(sample.train, experts).value();
    const LayerTask task = UniformTask(sample.load, 8, experts / 8 + static_cast<int>(rng.Between(0, 2)), 2);
    const NodeLabels by_load = LabelsByLoad(task);
    const SlotTable current = PackNodes(task, by_load);
    // Where single experts are too large for the cap, dealing by load (and repair) is the limit.
    NodeLabels repaired = by_load;
    RepairNodeLoads(task, kNodeLoadCap, repaired);
    const double limit = std::max(kNodeLoadCap, NodeOverload(task, repaired));
    std::map<std::string, double> pairs;
    for (const char* name : {"coactivation", "kmeans", "genetic"}) {
      LayerView view{task, current, {}, RelativeCosts(task, 0, 0)};
      view.together = &together;
      view.seed = rng.Next();
      view.evaluations_max = 2000;
      const std::optional<LayerChoice> choice = LayerStrategies().Find(name).value()->Choose(view);
      if (!choice) continue;
      ASSERT_TRUE(CheckTable(task, choice->table).ok()) << name;
      const NodeLabels labels = LabelsOf(task, choice->table);
      EXPECT_LE(NodeOverload(task, labels), limit * (1 + 1e-9)) << name;
      pairs[name] = PairsInside(together, labels);
    }
    if (!pairs.count("coactivation") || !pairs.count("genetic")) continue;
    EXPECT_GE(pairs["genetic"], pairs["coactivation"] - 1e-12);
    ++compared;
  }
  EXPECT_GE(compared, 20);
}

TEST(Coactivation, ExchangeReachesWhatAllDealsReachOnSmallCases) {
  const uint64_t seed = 92;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  double found = 0, best_sum = 0;
  for (int i = 0; i < 40; ++i) {
    const Sample sample = DrawTopics(rng.Next(), 8, 3, 2, 200);
    const CoactivationMatrix together = CountPairs(sample.train, 8).value();
    const LayerTask task = UniformTask(std::vector<int64_t>(8, 100), 2, 4, 1);
    NodeLabels labels = LabelsByLoad(task);
    int64_t evaluations = 1'000'000;
    ExchangeForAffinity(task, Affinity::OfPairs(together), kNodeLoadCap, evaluations, labels);
    double best = 0;
    for (int deal = 0; deal < 256; ++deal) {
      if (__builtin_popcount(static_cast<unsigned>(deal)) != 4) continue;
      NodeLabels all;
      for (int e = 0; e < 8; ++e) all.push_back(deal >> e & 1);
      best = std::max(best, PairsInside(together, all));
    }
    EXPECT_LE(PairsInside(together, labels), best + 1e-12);
    found += PairsInside(together, labels);
    best_sum += best;
  }
  EXPECT_GE(found, 0.95 * best_sum);
}

TEST(NodeLabels, RepairBringsLoadsUnderTheCap) {
  const uint64_t seed = 93;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  for (int i = 0; i < 200; ++i) {
    const LayerTask task = UniformTask(testing::LognormalLoad(rng, 64, 0.5), 16, 5, 4);
    NodeLabels labels;
    for (int e = 0; e < 64; ++e) labels.push_back(e / 16);
    RepairNodeLoads(task, kNodeLoadCap, labels);
    EXPECT_LE(NodeOverload(task, labels), kNodeLoadCap);
    EXPECT_TRUE(PlacesHold(task, labels));
  }
}

TEST(CountPairs, CountsAndRefuses) {
  const CoactivationMatrix matrix = CountPairs({{0, 2}, {2, 0}, {1, 2}}, 3).value();
  EXPECT_EQ(matrix.at(0, 2), 2);
  EXPECT_EQ(matrix.at(2, 1), 1);
  EXPECT_EQ(matrix.at(2, 2), 3);
  EXPECT_EQ(matrix.at(0, 1), 0);
  EXPECT_FALSE(CountPairs({{0, 3}}, 3).ok());
  EXPECT_FALSE(CountPairs({{1, 1}}, 3).ok());
  EXPECT_FALSE(CountPairs({{-1}}, 3).ok());
}

}  // namespace
}  // namespace ballast
