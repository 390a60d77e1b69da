// How a batch is dealt to ranks and microbatches. Pure: the same on every rank.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"

namespace ballast {

// A run of sequences.
struct SequenceRun {
  int64_t first = 0;
  int64_t count = 0;
  friend bool operator==(const SequenceRun&, const SequenceRun&) = default;
};

// Every rank computes a contiguous run of the batch, sizes differing by at most one, in pieces of at most
// `microbatch_sequences`. All ranks go through equally many microbatches, because every MoE layer takes all
// of them; a rank that has run out enters with zero sequences.
struct MicrobatchPlan {
  int64_t microbatches = 0;                    // the same at all ranks
  std::vector<int64_t> sequences;              // [rank]
  std::vector<std::vector<SequenceRun>> runs;  // [rank][microbatch], within the whole batch
};

// Requires batch_sequences >= 0, ranks > 0, microbatch_sequences > 0.
MicrobatchPlan PlanMicrobatches(int64_t batch_sequences, int ranks, int64_t microbatch_sequences);

}  // namespace ballast
