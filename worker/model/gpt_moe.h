// GptMoe: a decoder-only transformer shaped like Mixtral, forward and backward for one microbatch on one
// rank.
//
// RMSNorm, rotary embedding, grouped-query causal attention, MoE feed-forward in every layer, untied head.
// All ranks call it together, also with zero sequences: every MoE layer exchanges rows with the other ranks.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "plan/job_config.h"
#include "plan/layout.h"
#include "plan/plan.h"
#include "plan/topology.h"
#include "protocol/header.h"
#include "worker/backend/backend.h"
#include "worker/comm/communicator.h"
#include "worker/model/parameters.h"
#include "worker/phase_timer.h"

namespace ballast {

// Whole sequences, a run of the global batch: rows are [sequence][position].
struct Microbatch {
  int64_t sequences = 0;
  int64_t length = 0;
  std::vector<int32_t> inputs;   // [sequences * length]
  std::vector<int32_t> targets;  // [sequences * length]
  bool first_gradients = false;  // experts' gradients are written, whatever they hold; else added to
};

// Some rows of a microbatch whose choices of experts somebody wants to see.
struct TokenTap {
  int64_t first_row = 0;
  int64_t rows = 0;
  // [(layer * rows + row) * top_k + i]; the forward sizes it, and it is filled when ForwardBackward returns.
  std::vector<int32_t> chosen;
};

// What is the same for all microbatches of a step.
struct ModelStep {
  const PlanBody& plan;
  const Topology& topology;
  Communicator& communicator;
  const ModelParameters& parameters;
  Time deadline;                 // of each exchange
  int64_t global_tokens = 0;     // of the whole step: the cross-entropy gradient is divided by it
  int64_t global_sequences = 0;  // of the whole step: auxiliary losses are averaged over it
  PhaseTimer* phases = nullptr;  // null: nobody asks where the time goes
  // Where weights and zeroed gradients are enqueued, which the model's own operations run behind; null: they
  // are there.
  Stream* behind = nullptr;
  TokenTap* tap = nullptr;  // of this microbatch; null: nobody asks what tokens choose
};

// Per-sequence values (in the order of the microbatch's sequences), so that global scalars can be summed in
// global sequence order whatever the ranks and microbatches.
struct MicrobatchResult {
  std::vector<double> cross_entropy;  // [sequence] sum over its tokens, nats
  std::vector<double> load_balance;   // [sequence] sum over layers, before the coefficient
  std::vector<double>
      z_loss;  // [sequence] sum over layers of the mean squared log-sum-exp, before the coefficient
  std::vector<std::vector<int64_t>> expert_tokens;  // [layer][expert] over all ranks
  std::vector<std::vector<int64_t>> rank_tokens;    // [layer][rank] computed there
  uint64_t split_hash = 0;                          // of all layers' splits, in layer order
  // The first activation or loss of the forward pass that is not finite on this rank, if any.
  StepFailure failure;
};

class GptMoe {
 public:
  // Buffers grow to the largest microbatch seen and are then reused. InvalidArgument for shapes the model
  // cannot have.
  static absl::StatusOr<std::unique_ptr<GptMoe>> Make(const ModelConfig& config,
                                                      const ParameterLayout& layout, Backend& backend,
                                                      Recompute recompute = Recompute::kNone);
  virtual ~GptMoe() = default;

  // Forward and backward; adds to the gradients, but for the experts' of a microbatch with first_gradients,
  // all of which it writes. An exchange that fails ends it with that status.
  virtual absl::StatusOr<MicrobatchResult> ForwardBackward(const ModelStep& step,
                                                           const Microbatch& microbatch) = 0;
  // Forward alone, for evaluation.
  virtual absl::StatusOr<MicrobatchResult> Forward(const ModelStep& step, const Microbatch& microbatch) = 0;
};

}  // namespace ballast
