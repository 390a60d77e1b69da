// TokenSample: which experts the tokens of the newest sampled sequences chose, in every layer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/ids.h"
#include "coordinator/planner/layer/coactivation_matrix.h"

namespace ballast {

struct SampledSequence {
  Step step;
  Rank rank;
  std::vector<uint16_t> choices;  // [(layer * tokens + token) * top_k + i]
};

// A value: copies share the sequences, which do not change. Not thread-safe.
class TokenSample {
 public:
  // A strategy plans from so many sequences on, and the newest so many are kept.
  static constexpr size_t kSequencesNeeded = 64;
  static constexpr size_t kSequencesMax = 256;

  TokenSample(int layers, int experts, int top_k) : layers_(layers), experts_(experts), top_k_(top_k) {}

  // False: told before, or older than all that are kept. All sequences have `tokens` tokens: with another
  // number the sample begins anew. Requires choices in range, and as many as shape and tokens say.
  bool Add(Step step, Rank rank, int tokens, std::vector<uint16_t> choices);
  // Forgets everything: experts may have changed since.
  void Reset() { sequences_.clear(); }
  // Forgets what was told of steps before this one.
  void ForgetBefore(Step step);

  bool enough() const { return sequences_.size() >= kSequencesNeeded; }
  // By step and rank, rising.
  const std::deque<std::shared_ptr<const SampledSequence>>& sequences() const { return sequences_; }
  int layers() const { return layers_; }
  int experts() const { return experts_; }
  int top_k() const { return top_k_; }
  int tokens() const { return tokens_; }  // of a sequence; 0 before the first

  // Plans are made from every other sequence and judged on the rest, so that what fits one draw of tokens
  // alone is no gain.
  enum class Half { kPlanned = 0, kJudged = 1 };
  // Pairs of experts that tokens of that half chose in `layer`.
  CoactivationMatrix Together(int layer, Half half) const;
  // [sequence of that half] share of its pairs, over all layers, whose experts have one label;
  // labels[layer][expert]. Nothing for a sequence without pairs.
  std::vector<double> SharesOfPairs(const std::vector<std::vector<int>>& labels, Half half) const;

 private:
  const uint16_t* ChoicesOf(const SampledSequence& sequence, int layer) const {
    return sequence.choices.data() +
           static_cast<size_t>(layer) * static_cast<size_t>(tokens_) * static_cast<size_t>(top_k_);
  }

  int layers_;
  int experts_;
  int top_k_;
  int tokens_ = 0;
  std::deque<std::shared_ptr<const SampledSequence>> sequences_;
};

}  // namespace ballast
