// LanguageHead: final norm, logits and cross-entropy.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/backend/growing_buffer.h"
#include "worker/model/block_context.h"
#include "worker/model/dense_parameters.h"

namespace ballast {

// Keeps what its backward needs from its last forward. One thread.
class LanguageHead {
 public:
  LanguageHead(const DenseParameters& parameters, Backend& backend);

  // Cross-entropy in nats of every row of x [tokens, hidden], targets in host memory. `scale` goes into the
  // gradient: 1 / tokens of the global batch.
  absl::StatusOr<std::vector<double>> Forward(const BlockContext& context, Matrix x,
                                              const std::vector<int32_t>& targets, double scale);

  // Of the last forward, whose x it was. Overwrites x_gradient.
  absl::Status Backward(const BlockContext& context, Matrix x, Matrix x_gradient, GrowingBuffer& scratch);

 private:
  const int norm_;
  const int head_;
  GrowingBuffer inverse_rms_buffer_, normed_buffer_, logits_buffer_, targets_buffer_, loss_buffer_;
  // Of the last forward.
  double* inverse_rms_ = nullptr;  // [tokens]
  Matrix normed_;                  // [tokens, hidden]
  Matrix logits_gradient_;         // [tokens, vocabulary]
};

}  // namespace ballast
