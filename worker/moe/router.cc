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
      load_balance_buffer_(backend, "activations") {}

absl::StatusOr<RouterResult> Router::Forward(const MoeContext& context, Matrix x) {
  Backend& backend = context.backend;
  Stream& stream = context.stream;
  const int64_t tokens = x.rows;
  const int64_t choices = tokens * config_.top_k;
  double* load_balance = nullptr;
  BALLAST_ASSIGN_OR_RETURN(logits_, logits_buffer_.RouterShape(tokens, config_.experts));
  BALLAST_ASSIGN_OR_RETURN(probabilities_, probabilities_buffer_.RouterShape(tokens, config_.experts));
  BALLAST_ASSIGN_OR_RETURN(probabilities_gradient_,
                           probabilities_gradient_buffer_.RouterShape(tokens, config_.experts));
  BALLAST_ASSIGN_OR_RETURN(weights_, weights_buffer_.RouterShape(tokens, config_.top_k));
  BALLAST_ASSIGN_OR_RETURN(experts_, experts_buffer_.Array<int32_t>(choices));
  BALLAST_ASSIGN_OR_RETURN(log_sum_exp_, log_sum_exp_buffer_.Array<double>(tokens));
  BALLAST_ASSIGN_OR_RETURN(load_balance, load_balance_buffer_.Array<double>(context.sequences));

  backend.RouterLogits(stream, x, context.router, logits_);
  backend.RouterForward(stream, logits_, config_.top_k, probabilities_, experts_, weights_, log_sum_exp_);
  backend.LoadBalance(stream, probabilities_, experts_, config_.top_k, context.sequences,
                      config_.load_balance_coefficient * PerSequence(context), load_balance,
                      probabilities_gradient_);

  RouterResult result;
  result.choices.resize(choices);
  result.load_balance.resize(context.sequences);
  std::vector<double> log_sum_exp(tokens);
  backend.Copy(stream, result.choices.data(), experts_, result.choices.size() * sizeof(int32_t));
  backend.Copy(stream, result.load_balance.data(), load_balance, result.load_balance.size() * sizeof(double));
  backend.Copy(stream, log_sum_exp.data(), log_sum_exp_, log_sum_exp.size() * sizeof(double));
  BALLAST_RETURN_IF_ERROR(backend.Synchronize(stream));

  const int64_t length = context.sequences > 0 ? DivExact(tokens, context.sequences) : 0;
  for (int64_t sequence = 0; sequence < context.sequences; ++sequence) {
    double squares = 0;
    for (int64_t i = sequence * length; i < (sequence + 1) * length; ++i)
      squares += log_sum_exp[i] * log_sum_exp[i];
    result.z_loss.push_back(squares / static_cast<double>(length));
  }
  return result;
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
