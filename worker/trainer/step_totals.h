// StepTotals: what the microbatches of one step add up to on this rank.
#pragma once

#include <cstdint>
#include <vector>

#include "worker/model/gpt_moe.h"
#include "worker/optimizer/step_table.h"

namespace ballast {

struct StepTotals {
  std::vector<SequenceLoss> losses;                 // [sequence of this rank], in order
  std::vector<std::vector<int64_t>> expert_tokens;  // [layer][expert] over all ranks
  std::vector<std::vector<int64_t>> rank_tokens;    // [layer][rank] computed there
  uint64_t split_hash = 0;                          // of all splits, in order
  StepFailure failure;                              // of the first microbatch that has one

  void Add(const MicrobatchResult& result);
};

}  // namespace ballast
