#include "coordinator/planner/layer/sequence_choice.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/rng.h"
#include "coordinator/planner/layer/cluster_remap.h"
#include "coordinator/planner/layer/sequence_clusters.h"

namespace ballast {
namespace {

SequenceChoice ChoiceOf(const SequenceSample& sample, std::vector<int> rank_of_sequence, int ranks) {
  SequenceChoice choice;
  for (int l = 0; l < sample.layers; ++l) {
    choice.sources.push_back(SourcesOf(sample, l, rank_of_sequence, ranks));
  }
  choice.rank_of_sequence = std::move(rank_of_sequence);
  return choice;
}

// [rank] of the sequences' number: rank g ends where its even share does.
std::vector<int> EvenSizes(int sequences, int ranks) {
  std::vector<int> sizes;
  const auto until = [&](int64_t g) { return static_cast<int>(g * sequences / ranks); };
  for (int g = 0; g < ranks; ++g) sizes.push_back(until(g + 1) - until(g));
  return sizes;
}

// Nodes' clusters, and in each its ranks'.
std::vector<int> ClusterForRanks(const SequenceSample& sample, const std::vector<int>& node_of_rank,
                                 uint64_t seed) {
  const int nodes = 1 + *std::max_element(node_of_rank.begin(), node_of_rank.end());
  const std::vector<int> of_rank = EvenSizes(sample.sequences(), static_cast<int>(node_of_rank.size()));
  std::vector<int> of_node(static_cast<size_t>(nodes), 0);
  for (size_t g = 0; g < node_of_rank.size(); ++g)
    of_node[static_cast<size_t>(node_of_rank[g])] += of_rank[g];
  std::vector<int> all(static_cast<size_t>(sample.sequences()));
  std::iota(all.begin(), all.end(), 0);
  const std::vector<int> node_of_sequence = ClusterSequences(sample, all, of_node, HashSeed({seed, 0}));
  std::vector<int> rank_of_sequence(all.size(), 0);
  for (int n = 0; n < nodes; ++n) {
    std::vector<int> members, ranks, sizes;
    for (size_t s = 0; s < all.size(); ++s) {
      if (node_of_sequence[s] == n) members.push_back(static_cast<int>(s));
    }
    for (size_t g = 0; g < node_of_rank.size(); ++g) {
      if (node_of_rank[g] != n) continue;
      ranks.push_back(static_cast<int>(g));
      sizes.push_back(of_rank[g]);
    }
    const std::vector<int> clusters =
        ClusterSequences(sample, members, sizes, HashSeed({seed, 1, static_cast<uint64_t>(n)}));
    for (size_t m = 0; m < members.size(); ++m) {
      rank_of_sequence[static_cast<size_t>(members[m])] = ranks[static_cast<size_t>(clusters[m])];
    }
  }
  return rank_of_sequence;
}

}  // namespace

SequenceChoice InOrder(const SequenceSample& sample, int ranks) {
  std::vector<int> rank_of_sequence;
  const std::vector<int> sizes = EvenSizes(sample.sequences(), ranks);
  for (int g = 0; g < ranks; ++g) {
    rank_of_sequence.insert(rank_of_sequence.end(), static_cast<size_t>(sizes[static_cast<size_t>(g)]), g);
  }
  return ChoiceOf(sample, std::move(rank_of_sequence), ranks);
}

CountMatrix CoverageOf(const std::vector<CountMatrix>& sources) {
  const size_t ranks = sources[0].size();
  CountMatrix covered(ranks, std::vector<int64_t>(ranks, 0));
  for (const CountMatrix& layer : sources) {
    for (size_t e = 0; e < layer[0].size(); ++e) {
      size_t owner = 0;
      for (size_t g = 1; g < ranks; ++g) {
        if (layer[g][e] > layer[owner][e]) owner = g;
      }
      for (size_t g = 0; g < ranks; ++g) covered[owner][g] += layer[g][e];
    }
  }
  return covered;
}

SequenceChoice ChooseSequences(const SequenceSample& sample, const std::vector<int>& node_of_rank, bool remap,
                               int64_t evaluations, uint64_t seed) {
  const int ranks = static_cast<int>(node_of_rank.size());
  SequenceChoice choice = ChoiceOf(sample, ClusterForRanks(sample, node_of_rank, seed), ranks);
  if (!remap) return choice;
  std::vector<std::vector<double>> distance(node_of_rank.size(), std::vector<double>(node_of_rank.size(), 0));
  for (size_t i = 0; i < node_of_rank.size(); ++i) {
    for (size_t j = 0; j < node_of_rank.size(); ++j) {
      if (i != j) distance[i][j] = node_of_rank[i] == node_of_rank[j] ? 1 : kNodeDistance;
    }
  }
  const std::vector<int> cluster_of_rank =
      RemapClusters(CoverageOf(choice.sources), distance, evaluations, HashSeed({seed, 2}));
  std::vector<int> rank_of_cluster(cluster_of_rank.size());
  for (size_t g = 0; g < cluster_of_rank.size(); ++g) {
    rank_of_cluster[static_cast<size_t>(cluster_of_rank[g])] = static_cast<int>(g);
  }
  std::vector<int> rank_of_sequence;
  for (int rank : choice.rank_of_sequence)
    rank_of_sequence.push_back(rank_of_cluster[static_cast<size_t>(rank)]);
  return ChoiceOf(sample, std::move(rank_of_sequence), ranks);
}

}  // namespace ballast
