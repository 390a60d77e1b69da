// Sampler: which tokens are read in which step. Pure: a function of the job's data settings, the sources'
// sizes and the seed alone, never of the number of ranks or of what was read before.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "plan/job_config.h"

namespace ballast {

// A run of sequence_length + 1 tokens: inputs, and the same shifted by one as targets.
struct Sample {
  int source = 0;
  int64_t first_token = 0;
  friend bool operator==(const Sample&, const Sample&) = default;
};

// Immutable; may be used from any thread.
class Sampler {
 public:
  // `source_tokens`: tokens of each source, in their order. InvalidArgument names the source whose train or
  // held-out part is shorter than one sample, or a mixture that does not fit the sources.
  static absl::StatusOr<Sampler> Make(const DataConfig& data, uint64_t seed,
                                      std::vector<int64_t> source_tokens);

  // The sequence number `index` of the global batch of `step`: a source by the mixture in force at that step,
  // then a place anywhere in its train part.
  Sample Train(Step step, int64_t index) const;

  // The held-out sequence number `index` of a source: the same in every evaluation.
  Sample HeldOut(int source, int64_t index) const;

  // Weights in force at `step`.
  const std::vector<double>& Weights(Step step) const;

  // Train part: tokens [0, train_tokens(source)); the rest is held out.
  int64_t train_tokens(int source) const { return train_tokens_[source]; }

 private:
  Sampler(const DataConfig& data, uint64_t seed, std::vector<int64_t> source_tokens);
  DataConfig data_;
  uint64_t seed_;
  std::vector<int64_t> source_tokens_;
  std::vector<int64_t> train_tokens_;
};

}  // namespace ballast
