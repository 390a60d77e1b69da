// MoeLayer: one mixture-of-experts feed-forward, spread over all ranks.
//
// Forward: gate, gather the counts, split each expert's tokens over its slots, permute, dispatch, experts,
// combine. Backward mirrors it. Communication per microbatch: one all-gather of counts; dispatch and combine
// forward, and the same two backward, each one exchange per chunk. So five collectives with one chunk. All
// ranks call it together, also with no rows.
//
// Deterministic: one row per (token, k) travels, nothing is summed on the way, the source sums in k order,
// and an expert's rows are in canonical order (global sequence, position, k), because ranks hold contiguous
// runs of sequences.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "plan/job_config.h"
#include "worker/backend/growing_buffer.h"
#include "worker/moe/experts.h"
#include "worker/moe/moe_context.h"
#include "worker/moe/router.h"

namespace ballast {

// What one microbatch's forward tells of itself.
struct MoeResult {
  std::vector<double> load_balance;    // [sequence], before the coefficient
  std::vector<double> z_loss;          // [sequence], before the coefficient
  std::vector<int64_t> expert_tokens;  // [expert] assignments over all ranks
  std::vector<int64_t> rank_tokens;    // [rank] assignments computed there
  uint64_t split_hash = 0;
};

// Rows in flight, which no layer needs for longer than its own forward or backward: all layers share one.
struct MoeScratch {
  explicit MoeScratch(Backend& backend)
      : source_rows(backend, "scratch"),
        host_rows(backend, "scratch"),
        host_gradient(backend, "scratch"),
        weights_gradient(backend, "scratch"),
        logits_gradient(backend, "scratch"),
        own_counts(backend, "scratch"),
        counts(backend, "scratch"),
        experts(backend),
        aside(backend.NewStream()) {}
  GrowingBuffer source_rows;  // [assignments of this rank, hidden], in source order
  GrowingBuffer host_rows;    // [assignments computed here, hidden], in host order
  GrowingBuffer host_gradient;
  GrowingBuffer weights_gradient;
  GrowingBuffer logits_gradient;  // rounded to the compute type
  GrowingBuffer own_counts, counts;
  ExpertScratch experts;
  const std::unique_ptr<Stream> aside;  // where weights' gradients are worked out while rows travel
  SplitWorkspace split_work;
  Split split;  // without its shares
};

// Keeps what its backward needs from its last forward. One thread. `scratch` must outlive it.
class MoeLayer {
 public:
  MoeLayer(const MoeConfig& config, Backend& backend, MoeScratch& scratch);

  // out = the layer's output for x, both [tokens, hidden]. Errors: of an exchange or allocation; of a plan
  // that names an unknown algorithm or has no slot for an expert with tokens.
  absl::StatusOr<MoeResult> Forward(const MoeContext& context, Matrix x, Matrix out);

  // Of the last forward, whose x it was. Adds to x_gradient and to the gradients in the context, or writes
  // experts' where they are the first.
  absl::Status Backward(const MoeContext& context, Matrix x, Matrix out_gradient, Matrix x_gradient);

 private:
  absl::Status Exchange(const MoeContext& context, Direction direction, Matrix in, Matrix out);

  const MoeConfig config_;
  MoeScratch& scratch_;
  Router router_;
  Experts experts_;
  GrowingBuffer token_of_buffer_, row_of_buffer_, expert_in_buffer_, returned_buffer_;
  // Of the last forward.
  std::vector<Route> chunks_;
  std::vector<int64_t> slot_rows_;  // of this rank
  // As Backend::SortAssignments makes them.
  int64_t* token_of_ = nullptr;
  int64_t* row_of_ = nullptr;
  std::vector<int64_t> counts_;  // kept: a copy from the device writes it
  Matrix expert_in_;             // [rows computed here, hidden]
  Matrix returned_;              // [assignments of this rank, hidden], unreduced
};

}  // namespace ballast
