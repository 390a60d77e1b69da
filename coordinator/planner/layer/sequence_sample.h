// Which experts the tokens of whole sequences chose, in every MoE layer: what sequences are clustered by.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "plan/balance.h"

namespace ballast {

// Histograms of a sample of sequences of equal length.
struct SequenceSample {
  int layers = 0;
  int experts = 0;
  int length = 0;               // tokens of a sequence
  std::vector<int32_t> counts;  // [(sequence * layers + layer) * experts + expert] assignments

  int width() const { return layers * experts; }
  int sequences() const {
    return width() > 0 ? static_cast<int>(counts.size() / static_cast<size_t>(width())) : 0;
  }
  // The histogram of a sequence: width() counts, layer by layer.
  const int32_t* of(int sequence) const {
    return counts.data() + static_cast<size_t>(sequence) * static_cast<size_t>(width());
  }
};

// A sample holds no more counts than this.
inline constexpr int64_t kSampleCountsMax = int64_t{1} << 27;

// From `choices` ([layer][token][k], flat; each token's k experts), tokens in the order of their sequences.
// InvalidArgument naming the figure: a length below 1, tokens that are no multiple of it, an expert out of
// 0..experts - 1 or twice in a token, more counts than kSampleCountsMax.
absl::StatusOr<SequenceSample> CountSequences(const std::vector<int32_t>& choices, int layers, int k,
                                              int experts, int length);

// [rank][expert]: what the sequences of each rank choose in `layer`, when rank_of_sequence says who gets
// them.
CountMatrix SourcesOf(const SequenceSample& sample, int layer, const std::vector<int>& rank_of_sequence,
                      int ranks);

}  // namespace ballast
