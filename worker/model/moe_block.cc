#include "worker/model/moe_block.h"

#include "base/status_macros.h"

namespace ballast {

MoeBlock::MoeBlock(const ModelConfig& config, Backend& backend, MoeScratch& scratch)
    : layer_(config.moe, backend, scratch),
      inverse_rms_buffer_(backend, "activations"),
      normed_buffer_(backend, "activations") {}

absl::StatusOr<MoeResult> MoeBlock::Forward(const BlockContext& context, const LayerParameters& parameters,
                                            const MoeContext& moe, Matrix x, Matrix out) {
  BALLAST_ASSIGN_OR_RETURN(inverse_rms_, inverse_rms_buffer_.Array<double>(x.rows));
  BALLAST_ASSIGN_OR_RETURN(normed_, normed_buffer_.Shape(x.rows, x.columns));
  context.backend.RmsNormForward(context.stream, x, context.parameters.weight(parameters.moe_norm).data,
                                 context.config.rms_norm_epsilon, normed_, inverse_rms_);
  BALLAST_ASSIGN_OR_RETURN(MoeResult result, layer_.Forward(moe, normed_, out));
  context.backend.Add(context.stream, x, out);
  return result;
}

absl::Status MoeBlock::Backward(const BlockContext& context, const LayerParameters& parameters,
                                const MoeContext& moe, Matrix x, Matrix gradient, GrowingBuffer& scratch) {
  Backend& backend = context.backend;
  BALLAST_ASSIGN_OR_RETURN(const Matrix normed, scratch.Shape(normed_.rows, normed_.columns));
  backend.Zero(context.stream, normed.data, static_cast<size_t>(normed.elements()) * backend.element_bytes());
  BALLAST_RETURN_IF_ERROR(layer_.Backward(moe, normed_, gradient, normed));
  // What came in stays: it is the gradient through x itself.
  backend.RmsNormBackward(context.stream, x, context.parameters.weight(parameters.moe_norm).data,
                          inverse_rms_, normed, gradient,
                          context.parameters.gradient(parameters.moe_norm).data);
  return absl::OkStatus();
}

}  // namespace ballast
