// Which rank gets which cluster of sequences, by what the links between ranks cost.
//
// After ScaleMoE's topology-aware remapping: a permutation, searched by a genetic algorithm. Its paper
// publishes neither the size of the population nor rates; they are chosen here, and so are the seeds.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/balance.h"

namespace ballast {

// covered[a][b]: assignments of cluster b's sequences to experts that cluster a has (most of the
// assignments to it of all clusters). distance[i][j]: what one costs from rank j to rank i; 0 on the
// diagonal. cluster_of_rank: a permutation.
double RemapCost(const CountMatrix& covered, const std::vector<std::vector<double>>& distance,
                 const std::vector<int>& cluster_of_rank);

// The permutation of least cost that was found: order crossover that keeps the order of a random half,
// exchanges of two (one child in ten: until none gains), 1/8 elite, seeded with the identity, a greedy one,
// and pairwise exchanges from both; never dearer than any of these. Looks at `evaluations` permutations at
// most beyond its seeds. O(evaluations * ranks^3) at worst.
std::vector<int> RemapClusters(const CountMatrix& covered, const std::vector<std::vector<double>>& distance,
                               int64_t evaluations, uint64_t seed);

}  // namespace ballast
