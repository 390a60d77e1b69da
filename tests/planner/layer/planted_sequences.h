// Sequences of planted topics: what a choice of sequences should find again.
#pragma once

#include <cstdint>
#include <vector>

#include "base/rng.h"

namespace ballast::testing {

struct PlantedSequences {
  std::vector<int32_t> choices;            // [layer][token][k]
  std::vector<int> topic_of_sequence;      // [sequence]
  std::vector<std::vector<int64_t>> load;  // [layer][expert]
};

// In each layer a topic favours experts of its own, drawn anew: `favour` times as likely as others. Topics
// come in random order, as many sequences of each.
inline PlantedSequences DrawSequences(Rng& rng, int layers, int experts, int k, int topics, int sequences,
                                      int length, double favour) {
  PlantedSequences drawn;
  for (int s = 0; s < sequences; ++s) drawn.topic_of_sequence.push_back(s % topics);
  for (size_t s = drawn.topic_of_sequence.size(); s > 1; --s) {
    std::swap(drawn.topic_of_sequence[s - 1], drawn.topic_of_sequence[rng.Below(s)]);
  }
  for (int l = 0; l < layers; ++l) {
    // Experts are shared out among topics in a random order.
    std::vector<int> order;
    for (int e = 0; e < experts; ++e) order.push_back(e);
    for (size_t e = order.size(); e > 1; --e) std::swap(order[e - 1], order[rng.Below(e)]);
    std::vector<int64_t> load(static_cast<size_t>(experts), 0);
    for (int topic : drawn.topic_of_sequence) {
      for (int t = 0; t < length; ++t) {
        std::vector<double> weight(static_cast<size_t>(experts), 1);
        for (int i = 0; i < experts; ++i) {
          if (i % topics == topic) weight[static_cast<size_t>(order[static_cast<size_t>(i)])] = favour;
        }
        for (int i = 0; i < k; ++i) {
          double sum = 0;
          for (double w : weight) sum += w;
          double at = rng.Uniform() * sum;
          size_t e = 0;
          while (e + 1 < weight.size() && (at >= weight[e] || weight[e] == 0)) at -= weight[e++];
          while (weight[e] == 0) --e;
          drawn.choices.push_back(static_cast<int32_t>(e));
          weight[e] = 0;
          ++load[e];
        }
      }
    }
    drawn.load.push_back(load);
  }
  return drawn;
}

}  // namespace ballast::testing
