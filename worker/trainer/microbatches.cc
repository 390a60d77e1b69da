#include "worker/trainer/microbatches.h"

#include <algorithm>

#include "base/check.h"
#include "base/math.h"

namespace ballast {

MicrobatchPlan PlanMicrobatches(int64_t batch_sequences, int ranks, int64_t microbatch_sequences) {
  BALLAST_CHECK(batch_sequences >= 0 && ranks > 0 && microbatch_sequences > 0)
      << batch_sequences << " sequences, " << ranks << " ranks, microbatches of " << microbatch_sequences;
  MicrobatchPlan plan;
  plan.microbatches = CeilDiv(CeilDiv(batch_sequences, ranks), microbatch_sequences);
  plan.runs.resize(ranks);
  for (int rank = 0; rank < ranks; ++rank) {
    const int64_t begin = PartBegin(batch_sequences, ranks, rank);
    const int64_t end = PartBegin(batch_sequences, ranks, rank + 1);
    plan.sequences.push_back(end - begin);
    for (int64_t m = 0; m < plan.microbatches; ++m) {
      const int64_t first = std::min(begin + m * microbatch_sequences, end);
      plan.runs[rank].push_back({first, std::min(microbatch_sequences, end - first)});
    }
  }
  return plan;
}

}  // namespace ballast
