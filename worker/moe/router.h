// Router: which experts a token goes to, with which weights, and the losses that keep it healthy.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "plan/job_config.h"
#include "worker/backend/growing_buffer.h"
#include "worker/moe/moe_context.h"

namespace ballast {

// Keeps what its backward needs from the last forward. One thread.
class Router {
 public:
  Router(const MoeConfig& config, Backend& backend);

  // x [tokens, hidden].
  absl::Status Forward(const MoeContext& context, Matrix x);
  // Mixing weights [tokens, k], of the router type, and choices [tokens, k] of the last forward.
  Matrix weights() const { return weights_; }
  const int32_t* experts() const { return experts_; }
  // [sequence] of the last forward, before the coefficient; read them when the stream has been synchronized.
  // The z loss is the mean over the sequence's tokens of log-sum-exp squared.
  const std::vector<double>& load_balance() const { return load_balance_; }
  const std::vector<double>& z_loss() const { return z_loss_; }

  // Of the last forward, whose x it was. Adds to context.router_gradient and to x_gradient: through the
  // weights (their gradient is of the router type), and of the auxiliary losses with their coefficients,
  // averaged over the global batch.
  absl::Status Backward(const MoeContext& context, Matrix x, Matrix weights_gradient, Matrix x_gradient,
                        GrowingBuffer& scratch);

 private:
  const MoeConfig config_;
  GrowingBuffer logits_buffer_, probabilities_buffer_, probabilities_gradient_buffer_, weights_buffer_,
      experts_buffer_, log_sum_exp_buffer_, losses_buffer_;
  // Views into them, of the last forward.
  Matrix logits_, probabilities_, probabilities_gradient_, weights_;
  int32_t* experts_ = nullptr;
  double* log_sum_exp_ = nullptr;
  std::vector<double> load_balance_, z_loss_;  // kept: copies from the device write them
};

}  // namespace ballast
