#include "worker/model/language_head.h"

#include "base/status_macros.h"

namespace ballast {

LanguageHead::LanguageHead(const DenseParameters& parameters, Backend& backend)
    : norm_(parameters.final_norm),
      head_(parameters.head),
      inverse_rms_buffer_(backend, "activations"),
      normed_buffer_(backend, "activations"),
      logits_buffer_(backend, "activations"),
      targets_buffer_(backend, "activations"),
      loss_buffer_(backend, "activations") {}

absl::StatusOr<std::vector<double>> LanguageHead::Forward(const BlockContext& context, Matrix x,
                                                          const std::vector<int32_t>& targets, double scale) {
  Backend& backend = context.backend;
  Stream& stream = context.stream;
  BALLAST_ASSIGN_OR_RETURN(inverse_rms_, inverse_rms_buffer_.Array<double>(x.rows));
  BALLAST_ASSIGN_OR_RETURN(normed_, normed_buffer_.Shape(x.rows, x.columns));
  BALLAST_ASSIGN_OR_RETURN(logits_gradient_, logits_buffer_.Shape(x.rows, context.config.vocabulary_size));
  BALLAST_ASSIGN_OR_RETURN(int32_t* const device_targets, targets_buffer_.Array<int32_t>(x.rows));
  BALLAST_ASSIGN_OR_RETURN(double* const device_loss, loss_buffer_.Array<double>(x.rows));

  backend.Copy(stream, device_targets, targets.data(), targets.size() * sizeof(int32_t));
  backend.RmsNormForward(stream, x, context.parameters.weight(norm_).data, context.config.rms_norm_epsilon,
                         normed_, inverse_rms_);
  const Matrix logits = logits_gradient_;  // overwritten by their gradient
  backend.MatmulNT(stream, normed_, context.parameters.weight(head_), logits, /*accumulate=*/false);
  backend.CrossEntropy(stream, logits, device_targets, scale, device_loss, logits_gradient_);
  std::vector<double> loss(x.rows);
  backend.Copy(stream, loss.data(), device_loss, loss.size() * sizeof(double));
  BALLAST_RETURN_IF_ERROR(backend.Synchronize(stream));
  return loss;
}

absl::Status LanguageHead::Backward(const BlockContext& context, Matrix x, Matrix x_gradient,
                                    GrowingBuffer& scratch) {
  Backend& backend = context.backend;
  Stream& stream = context.stream;
  BALLAST_ASSIGN_OR_RETURN(const Matrix normed, scratch.Shape(normed_.rows, normed_.columns));
  backend.MatmulTN(stream, logits_gradient_, normed_, context.parameters.gradient(head_),
                   /*accumulate=*/true);
  backend.MatmulNN(stream, logits_gradient_, context.parameters.weight(head_), normed, /*accumulate=*/false);
  backend.Zero(stream, x_gradient.data, static_cast<size_t>(x_gradient.elements()) * backend.element_bytes());
  backend.RmsNormBackward(stream, x, context.parameters.weight(norm_).data, inverse_rms_, normed, x_gradient,
                          context.parameters.gradient(norm_).data);
  return absl::OkStatus();
}

}  // namespace ballast
