#include "coordinator/planner/layer/sequence_sample.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace ballast {

absl::StatusOr<SequenceSample> CountSequences(const std::vector<int32_t>& choices, int layers, int k,
                                              int experts, int length) {
  BALLAST_CHECK(layers > 0 && k > 0 && experts > 0)
      << layers << " layers of " << experts << " experts, " << k;
  const int64_t tokens = static_cast<int64_t>(choices.size()) / layers / k;
  if (length < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("sequence-length: found ", length, ", allowed is 1 or more"));
  }
  if (tokens == 0 || tokens % length != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tokens: found ", tokens, " in a layer, allowed is a multiple of the sequence length ", length));
  }
  const int64_t sequences = tokens / length;
  if (sequences > kSampleCountsMax / layers / experts) {
    return absl::InvalidArgumentError(absl::StrCat("tokens: found ", sequences, " sequences, allowed is ",
                                                   kSampleCountsMax / layers / experts, " for ", layers,
                                                   " layers of ", experts, " experts"));
  }
  SequenceSample sample{layers, experts, length, {}};
  sample.counts.assign(static_cast<size_t>(sequences * layers * experts), 0);
  for (int64_t l = 0; l < layers; ++l) {
    for (int64_t t = 0; t < tokens; ++t) {
      const int32_t* chosen = choices.data() + (l * tokens + t) * k;
      const auto refuse = [&](int expert, const std::string& found, const std::string& allowed) {
        return absl::InvalidArgumentError(absl::StrCat("tokens: layer ", l, ", token ", t, ": found expert ",
                                                       expert, found, ", allowed is ", allowed));
      };
      for (int i = 0; i < k; ++i) {
        if (chosen[i] < 0 || chosen[i] >= experts) {
          return refuse(chosen[i], "", absl::StrCat("0..", experts - 1));
        }
        for (int j = 0; j < i; ++j) {
          if (chosen[i] == chosen[j]) return refuse(chosen[i], " twice", "once");
        }
        ++sample.counts[static_cast<size_t>((t / length * layers + l) * experts + chosen[i])];
      }
    }
  }
  return sample;
}

CountMatrix SourcesOf(const SequenceSample& sample, int layer, const std::vector<int>& rank_of_sequence,
                      int ranks) {
  const auto experts = static_cast<size_t>(sample.experts);
  CountMatrix sources(static_cast<size_t>(ranks), std::vector<int64_t>(experts, 0));
  for (int s = 0; s < sample.sequences(); ++s) {
    const int32_t* counts = sample.of(s) + static_cast<size_t>(layer) * experts;
    std::vector<int64_t>& row = sources[static_cast<size_t>(rank_of_sequence[static_cast<size_t>(s)])];
    for (size_t e = 0; e < experts; ++e) row[e] += counts[e];
  }
  return sources;
}

}  // namespace ballast
