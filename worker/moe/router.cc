#include "worker/moe/router.h"

#include "base/math.h"
#include "base/status_macros.h"

namespace ballast {
namespace {

// 1 / sequences of the step; 0 when there are none, as in evaluation.
double PerSequence(const MoeContext& context) {
  return context.global_sequences > 0 ? 1.0 / static_cast<double>(context.global_sequences) : 0;
}

}  // namespace

Router::Router(const MoeConfig& config, Backend& backend)
    : config_(config),
      logits_buffer_(backend, "activations"),
      probabilities_buffer_(backend, "activations"),
      probabilities_gradient_buffer_(backend, "activations"),
      weights_buffer_(backend, "activations"),
      experts_buffer_(backend, "activations"),
      log_sum_exp_buffer_(backend, "activations"),
      losses_buffer_(backend, "activations") {}

absl::Status Router::Forward(const MoeContext& context, Matrix x) {
  Backend& backend = context.backend;
  Stream& stream = context.stream;
  const int64_t tokens = x.rows;
  const int64_t choices = tokens * config_.top_k;
  double* losses = nullptr;
  BALLAST_ASSIGN_OR_RETURN(logits_, logits_buffer_.RouterShape(tokens, config_.experts));
  BALLAST_ASSIGN_OR_RETURN(probabilities_, probabilities_buffer_.RouterShape(tokens, config_.experts));
  BALLAST_ASSIGN_OR_RETURN(probabilities_gradient_,
                           probabilities_gradient_buffer_.RouterShape(tokens, config_.experts));
  BALLAST_ASSIGN_OR_RETURN(weights_, weights_buffer_.RouterShape(tokens, config_.top_k));
  BALLAST_ASSIGN_OR_RETURN(experts_, experts_buffer_.Array<int32_t>(choices));
  BALLAST_ASSIGN_OR_RETURN(log_sum_exp_, log_sum_exp_buffer_.Array<double>(tokens));
  BALLAST_ASSIGN_OR_RETURN(losses, losses_buffer_.Array<double>(2 * context.sequences));
  double* const z_losses = losses + context.sequences;
  const int64_t length = context.sequences > 0 ? DivExact(tokens, context.sequences) : 0;

  backend.RouterLogits(stream, x, context.router, logits_);
  backend.RouterForward(stream, logits_, config_.top_k, probabilities_, experts_, weights_, log_sum_exp_);
  backend.LoadBalance(stream, probabilities_, experts_, config_.top_k, context.sequences,
                      config_.load_balance_coefficient * PerSequence(context), losses,
                      probabilities_gradient_);

  backend.MeanSquares(stream, log_sum_exp_, context.sequences, length, z_losses);

  load_balance_.resize(context.sequences);
  z_loss_.resize(context.sequences);
  const size_t bytes = context.sequences * sizeof(double);
  backend.Copy(stream, load_balance_.data(), losses, bytes);
  backend.Copy(stream, z_loss_.data(), z_losses, bytes);
  return absl::OkStatus();
}

absl::Status Router::Backward(const MoeContext& context, Matrix x, Matrix weights_gradient, Matrix x_gradient,
                              GrowingBuffer& scratch) {
  Backend& backend = context.backend;
  Stream& stream = context.stream;
  const int64_t length = context.sequences > 0 ? DivExact(x.rows, context.sequences) : 1;
  const double z_scale = config_.z_loss_coefficient * PerSequence(context) / static_cast<double>(length);
  const Matrix logits_gradient = logits_;  // the logits are not needed any more
  backend.RouterBackward(stream, probabilities_, experts_, weights_, weights_gradient,
                         probabilities_gradient_, log_sum_exp_, z_scale, logits_gradient);
  // An operand of products like any other: of the compute type.
  Matrix operand = logits_gradient;
  if (backend.router_dtype() != backend.dtype()) {
    BALLAST_ASSIGN_OR_RETURN(operand, scratch.Shape(logits_gradient.rows, logits_gradient.columns));
    backend.CastRouter(stream, logits_gradient.data, logits_gradient.elements(), operand.data);
  }
  backend.MatmulTN(stream, operand, x, context.router_gradient, /*accumulate=*/true);
  backend.MatmulNN(stream, operand, context.router, x_gradient, /*accumulate=*/true);
  return absl::OkStatus();
}

}  // namespace ballast
