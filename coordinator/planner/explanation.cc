#include "coordinator/planner/explanation.h"

#include <algorithm>

namespace ballast {

double MeanBound(const Explanation& explanation) {
  if (explanation.layers.empty()) return 1;
  double sum = 0;
  for (const LayerExplanation& layer : explanation.layers) sum += layer.bound;
  return sum / static_cast<double>(explanation.layers.size());
}

void TrimCandidates(std::vector<LayerCandidate>& candidates) {
  const auto rank = [](const LayerCandidate& candidate) {
    return candidate.chosen ? 0 : candidate.name == kAsItIs ? 1 : 2;
  };
  std::stable_sort(candidates.begin(), candidates.end(),
                   [&](const LayerCandidate& a, const LayerCandidate& b) {
                     return rank(a) != rank(b) ? rank(a) < rank(b) : a.cost < b.cost;
                   });
  if (candidates.size() > kCandidatesMax) candidates.resize(kCandidatesMax);
}

}  // namespace ballast
