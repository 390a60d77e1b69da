// MoeBlock: out = x + moe(norm(x)).
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/backend/growing_buffer.h"
#include "worker/model/block_context.h"
#include "worker/model/dense_parameters.h"
#include "worker/moe/moe_layer.h"

namespace ballast {

// Keeps what its backward needs from its last forward; may serve several layers in turn. One thread.
// `scratch` must outlive it.
class MoeBlock {
 public:
  MoeBlock(const ModelConfig& config, Backend& backend, MoeScratch& scratch);

  // x and out [tokens, hidden], different memory. `moe` is the same microbatch and layer's.
  absl::StatusOr<MoeResult> Forward(const BlockContext& context, const LayerParameters& parameters,
                                    const MoeContext& moe, Matrix x, Matrix out);

  // Of the last forward, whose parameters and x they were. `gradient` is that of out on entry and that of x
  // on return.
  absl::Status Backward(const BlockContext& context, const LayerParameters& parameters, const MoeContext& moe,
                        Matrix x, Matrix gradient, GrowingBuffer& scratch);

 private:
  MoeLayer layer_;
  GrowingBuffer inverse_rms_buffer_, normed_buffer_;
  double* inverse_rms_ = nullptr;  // [tokens], of the last forward
  Matrix normed_;                  // [tokens, hidden], of the last forward
};

}  // namespace ballast
