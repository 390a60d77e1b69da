// TokenSampler: what this rank tells of the experts that its tokens chose, by the rule of the generation.
#pragma once

#include <cstdint>
#include <optional>

#include "base/ids.h"
#include "protocol/token_sampling.h"
#include "worker/model/gpt_moe.h"
#include "worker/trainer/microbatches.h"

namespace ballast {

// One rank's. When nothing is sampled in a step, nothing is copied and nothing told. One thread.
class TokenSampler {
 public:
  // `batch` must outlive it. `sequence_length` is the job's.
  TokenSampler(const TokenSampling& sampling, Rank self, const MicrobatchPlan& batch,
               int64_t sequence_length);

  // For the microbatch of `run`: where its model puts what the sampled tokens chose; null = none are in it.
  TokenTap* TapOf(Step step, const SequenceRun& run);
  // What the last step's taps hold, once the model's operations have been waited for; once. Job and
  // generation are left to the caller.
  std::optional<TokenReport> Take(Step step);

 private:
  // The sequence to sample in `step`, of the whole batch.
  std::optional<int64_t> SequenceOf(Step step) const;

  const TokenSampling sampling_;
  const Rank self_;
  const MicrobatchPlan& batch_;
  const int64_t length_;
  Step step_;  // of the tap
  TokenTap tap_;
};

}  // namespace ballast
