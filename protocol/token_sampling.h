// Which tokens' choices of experts the ranks tell, so that experts that are chosen together can be placed
// together. A rule that every rank and the coordinator work out alike, from step and rank alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "base/ids.h"

namespace ballast {

// Every `every` steps `sequences` ranks tell what the first `tokens` tokens of one of their sequences chose.
struct TokenSampling {
  int64_t every = 0;  // 0 = nothing is sampled
  int sequences = 0;
  int tokens = 0;
  bool on() const { return every > 0; }
  friend bool operator==(const TokenSampling&, const TokenSampling&) = default;
};

// Bounds of every job, whatever its shape; a choice takes at most kBytesOfChoice on the wire.
inline constexpr int kSampledTokensMax = 256;           // of a sequence
inline constexpr int64_t kSampledChoicesMax = 1 << 17;  // of a sequence, in all layers: 256 KiB
inline constexpr int64_t kLayerChoicesMax = 1 << 14;    // of a sequence, in one layer
inline constexpr int kSampledSequencesMax = 8;          // in one step
inline constexpr int64_t kSampleBytesPerStep = 64 << 10;
inline constexpr int64_t kBytesOfChoice = 2;

// The rule of a job of `ranks` ranks: as many tokens of a sequence as the bounds allow, from as many ranks in
// as many steps as send kSampleBytesPerStep per step in the mean. Requires positive arguments, and layers *
// top_k <= 1 << 17.
TokenSampling SamplingFor(int layers, int top_k, int64_t sequence_length, int ranks);

// OK, or InvalidArgument naming the field: a rule that no job has.
absl::Status CheckSampling(const TokenSampling& sampling);

// How many sequences `rank` has told before `step`; nothing when it tells none in this step. Ranks take
// turns. Requires step >= 1.
std::optional<int64_t> SampledTurn(const TokenSampling& sampling, Step step, Rank rank, int ranks);

// What the tokens of one sequence chose. Bounded by the rule.
struct TokenReport {
  JobId job;
  Generation generation;
  Rank rank;
  Step step;
  int tokens = 0;
  std::vector<uint16_t> choices;  // [(layer * tokens + token) * top_k + i], an expert of the layer
};

// OK, or InvalidArgument naming the field: not what `sampling` asks of this rank in this step, experts out of
// range, or twice in a token.
absl::Status CheckTokenReport(const TokenReport& report, const TokenSampling& sampling, int ranks, int layers,
                              int top_k, int experts);

}  // namespace ballast
