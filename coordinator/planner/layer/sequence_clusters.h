// Clusters of whole sequences that choose the same experts, of given sizes.
//
// After ScaleMoE's dynamic expert clustering, which clusters tokens; a token cannot leave its sequence,
// because attention needs all of it, so sequences are clustered, by their histograms in all layers.
#pragma once

#include <cstdint>
#include <vector>

#include "coordinator/planner/layer/sequence_sample.h"

namespace ballast {

// `members` of the sample's sequences in clusters of the given `sizes` (their sum is the number of members):
// [member] -> cluster. Lloyd's rounds with k-means++ seeds (Arthur and Vassilvitskii 2007) over roots of
// counts, whose differences are Hellinger's distance and as noisy for popular experts as for rare ones; in
// each round a sequence takes the nearest centroid with room, those with most to lose first, then pairs
// exchange as long as both distances together fall. The best of four starts. A function of the arguments
// alone. O(starts * rounds * members * clusters * (layers * experts + exchanges of a member)).
std::vector<int> ClusterSequences(const SequenceSample& sample, const std::vector<int>& members,
                                  const std::vector<int>& sizes, uint64_t seed);

// What ClusterSequences makes small: the sum over members of the squared distance to their cluster's mean.
double ClusterCost(const SequenceSample& sample, const std::vector<int>& members,
                   const std::vector<int>& clusters, int count);

}  // namespace ballast
