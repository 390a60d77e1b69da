#include "worker/moe/moe_layer.h"

#include <utility>

#include "base/check.h"
#include "base/status_macros.h"
#include "plan/split.h"
#include "worker/moe/chunks.h"
#include "worker/moe/counts.h"
#include "worker/schedule/route.h"

namespace ballast {

MoeLayer::MoeLayer(const MoeConfig& config, Backend& backend, MoeScratch& scratch)
    : config_(config),
      scratch_(scratch),
      router_(config, backend),
      experts_(config.intermediate_size, backend),
      token_of_buffer_(backend, "activations"),
      row_of_buffer_(backend, "activations"),
      expert_in_buffer_(backend, "activations"),
      returned_buffer_(backend, "activations") {}

absl::StatusOr<MoeResult> MoeLayer::Forward(const MoeContext& context, Matrix x, Matrix out) {
  Backend& backend = context.backend;
  const Rank self = context.communicator.rank();

  // Gate.
  PhaseScope phase(context.phases, Phase::kRouter);
  BALLAST_RETURN_IF_ERROR(router_.Forward(context, x));
  if (context.chosen.to != nullptr) {
    backend.Copy(context.stream, context.chosen.to,
                 router_.experts() + context.chosen.first_row * config_.top_k,
                 static_cast<size_t>(context.chosen.rows * config_.top_k) * sizeof(int32_t));
  }
  const int64_t assignments = x.rows * config_.top_k;
  BALLAST_ASSIGN_OR_RETURN(token_of_, token_of_buffer_.Array<int64_t>(assignments));
  BALLAST_ASSIGN_OR_RETURN(row_of_, row_of_buffer_.Array<int64_t>(assignments));
  BALLAST_ASSIGN_OR_RETURN(int64_t* const own_counts, scratch_.own_counts.Array<int64_t>(config_.experts));
  backend.SortAssignments(context.stream, router_.experts(), x.rows, config_.top_k, config_.experts,
                          own_counts, token_of_, row_of_);

  // Counts and split.
  phase.Next(Phase::kCounts);
  BALLAST_ASSIGN_OR_RETURN(const CountMatrix counts,
                           GatherCounts(context, own_counts, config_.experts, scratch_.counts, counts_));
  BALLAST_ASSIGN_OR_RETURN(const AllToAllPtr all_to_all, AllToAlls().Find(context.plan.schedule.all_to_all));
  const std::vector<char> wanted = all_to_all->Wanted(context.topology, self);
  const Split& split = scratch_.split;
  Route route;
  if (chunks_.size() == 1) route = std::move(chunks_[0]);  // of the last forward, for its memory
  BALLAST_RETURN_IF_ERROR(ComputeRoute(counts, context.plan, config_.experts, context.speeds,
                                       context.topology, wanted, scratch_.split_work, scratch_.split, route));
  std::vector<int64_t> expert_tokens = ExpertTokens(counts);
  BALLAST_CHECK_OK(CheckConserved(route, split, counts, expert_tokens, wanted));
  slot_rows_ = route.slot_rows[self.index()];

  // Permute and dispatch.
  phase.Next(Phase::kDispatch);
  const int64_t sent = route.source_rows[self.index()];
  const int64_t computed = route.host_rows[self.index()];
  chunks_ = CutIntoChunks(std::move(route), context.plan.schedule.chunks);
  Matrix source_rows, host_rows;
  BALLAST_ASSIGN_OR_RETURN(source_rows, scratch_.source_rows.Shape(sent, x.columns));
  BALLAST_ASSIGN_OR_RETURN(expert_in_, expert_in_buffer_.Shape(computed, x.columns));
  backend.GatherRows(context.stream, x, token_of_, source_rows);
  // All come here from the counts of all, which nobody has before everybody has sent them.
  context.communicator.NextBeginsTogether(context.topology);
  BALLAST_RETURN_IF_ERROR(Exchange(context, Direction::kDispatch, source_rows, expert_in_));

  // Experts.
  phase.Next(Phase::kExperts);
  BALLAST_ASSIGN_OR_RETURN(host_rows, scratch_.host_rows.Shape(computed, x.columns));
  BALLAST_RETURN_IF_ERROR(experts_.Forward(context, slot_rows_, expert_in_, host_rows));

  // Combine.
  phase.Next(Phase::kCombine);
  BALLAST_ASSIGN_OR_RETURN(returned_, returned_buffer_.Shape(sent, x.columns));
  BALLAST_RETURN_IF_ERROR(Exchange(context, Direction::kCombine, host_rows, returned_));
  backend.CombineForward(context.stream, returned_, row_of_, router_.weights(), out);

  return MoeResult{.load_balance = router_.load_balance(),
                   .z_loss = router_.z_loss(),
                   .expert_tokens = std::move(expert_tokens),
                   .rank_tokens = split.rank_tokens,
                   .split_hash = split.hash};
}

absl::Status MoeLayer::Backward(const MoeContext& context, Matrix x, Matrix out_gradient, Matrix x_gradient) {
  Backend& backend = context.backend;
  PhaseScope phase(context.phases, Phase::kDispatchBackward);
  Matrix source_rows, out_rows, in_rows, weights_gradient;
  BALLAST_ASSIGN_OR_RETURN(source_rows, scratch_.source_rows.Shape(returned_.rows, x.columns));
  BALLAST_ASSIGN_OR_RETURN(out_rows, scratch_.host_rows.Shape(expert_in_.rows, x.columns));
  BALLAST_ASSIGN_OR_RETURN(in_rows, scratch_.host_gradient.Shape(expert_in_.rows, x.columns));
  BALLAST_ASSIGN_OR_RETURN(weights_gradient, scratch_.weights_gradient.RouterShape(x.rows, config_.top_k));

  // Combine: weighted gradient rows go to the experts; the weights' gradients need only what came back in the
  // forward.
  backend.CombineBackward(context.stream, returned_, row_of_, router_.weights(), out_gradient, source_rows,
                          weights_gradient);
  BALLAST_RETURN_IF_ERROR(Exchange(context, Direction::kDispatch, source_rows, out_rows));

  // Experts: what other ranks wait for. Nobody waits for the weights' gradients, so their stream goes on from
  // here while rows travel.
  phase.Next(Phase::kExpertsBackward);
  BALLAST_RETURN_IF_ERROR(experts_.Backward(context, slot_rows_, out_rows, in_rows, scratch_.experts));
  backend.RunBehind(*scratch_.aside, context.stream);

  // Dispatch: rows come back unreduced and are summed in k order.
  phase.Next(Phase::kCombineBackward);
  BALLAST_RETURN_IF_ERROR(Exchange(context, Direction::kCombine, in_rows, source_rows));
  backend.SumRows(context.stream, source_rows, row_of_, config_.top_k, x_gradient);

  // Gate.
  phase.Next(Phase::kRouterBackward);
  BALLAST_RETURN_IF_ERROR(
      router_.Backward(context, x, weights_gradient, x_gradient, scratch_.logits_gradient));

  // Enqueued last, because the host takes long for many small products. What they read is not written before
  // they are done.
  phase.Next(Phase::kExpertsBackward);
  experts_.WeightGradients(context, *scratch_.aside, slot_rows_, expert_in_, out_rows);
  backend.RunBehind(context.stream, *scratch_.aside);
  return absl::OkStatus();
}

// The compressor goes with the direction of travel, forward and backward alike.
absl::Status MoeLayer::Exchange(const MoeContext& context, Direction direction, Matrix in, Matrix out) {
  const LayerSchedule& schedule = context.plan.schedule;
  BALLAST_ASSIGN_OR_RETURN(const AllToAllPtr all_to_all, AllToAlls().Find(schedule.all_to_all));
  BALLAST_ASSIGN_OR_RETURN(
      const CompressorPtr compressor,
      Compressors().Find(direction == Direction::kDispatch ? schedule.dispatch_compressor
                                                           : schedule.combine_compressor));
  const AllToAllContext exchange{.communicator = context.communicator,
                                 .backend = context.backend,
                                 .stream = context.stream,
                                 .topology = context.topology,
                                 .deadline = context.deadline,
                                 .scratch = context.all_to_all_scratch};
  for (const Route& chunk : chunks_) {
    BALLAST_RETURN_IF_ERROR(all_to_all->Exchange(exchange, chunk, direction, *compressor, in, out));
  }
  return absl::OkStatus();
}

}  // namespace ballast
