#include "worker/model/attention_block.h"

#include "base/status_macros.h"

namespace ballast {

AttentionBlock::AttentionBlock(Backend& backend)
    : inverse_rms_buffer_(backend, "activations"),
      normed_buffer_(backend, "activations"),
      query_buffer_(backend, "activations"),
      key_buffer_(backend, "activations"),
      value_buffer_(backend, "activations"),
      saved_buffer_(backend, "activations"),
      mixed_buffer_(backend, "activations") {}

absl::Status AttentionBlock::Forward(const BlockContext& context, const LayerParameters& parameters, Matrix x,
                                     Matrix out) {
  Backend& backend = context.backend;
  Stream& stream = context.stream;
  const AttentionShape& shape = context.shape;
  const double theta = context.config.rope_theta;
  const int64_t queries = int64_t{shape.heads} * shape.head_size;
  const int64_t keys = int64_t{shape.key_value_heads} * shape.head_size;
  auto weight = [&](int parameter) { return context.parameters.weight(parameter); };
  BALLAST_ASSIGN_OR_RETURN(inverse_rms_, inverse_rms_buffer_.Array<double>(x.rows));
  BALLAST_ASSIGN_OR_RETURN(normed_, normed_buffer_.Shape(x.rows, x.columns));
  BALLAST_ASSIGN_OR_RETURN(query_, query_buffer_.Shape(x.rows, queries));
  BALLAST_ASSIGN_OR_RETURN(key_, key_buffer_.Shape(x.rows, keys));
  BALLAST_ASSIGN_OR_RETURN(value_, value_buffer_.Shape(x.rows, keys));
  BALLAST_ASSIGN_OR_RETURN(mixed_, mixed_buffer_.Shape(x.rows, queries));
  BALLAST_ASSIGN_OR_RETURN(
      saved_, saved_buffer_.Array<char>(static_cast<int64_t>(backend.AttentionSavedBytes(shape))));

  backend.RmsNormForward(stream, x, weight(parameters.attention_norm).data, context.config.rms_norm_epsilon,
                         normed_, inverse_rms_);
  backend.MatmulNT(stream, normed_, weight(parameters.query), query_, /*accumulate=*/false);
  backend.MatmulNT(stream, normed_, weight(parameters.key), key_, /*accumulate=*/false);
  backend.MatmulNT(stream, normed_, weight(parameters.value), value_, /*accumulate=*/false);
  backend.Rope(stream, query_, shape, shape.heads, theta, /*backward=*/false);
  backend.Rope(stream, key_, shape, shape.key_value_heads, theta, /*backward=*/false);
  backend.AttentionForward(stream, query_, key_, value_, shape, mixed_, saved_);
  backend.Copy(stream, out.data, x.data, static_cast<size_t>(x.elements()) * backend.element_bytes());
  backend.MatmulNT(stream, mixed_, weight(parameters.output), out, /*accumulate=*/true);
  return absl::OkStatus();
}

absl::Status AttentionBlock::Backward(const BlockContext& context, const LayerParameters& parameters,
                                      Matrix x, Matrix gradient, AttentionScratch& scratch) {
  Backend& backend = context.backend;
  Stream& stream = context.stream;
  const AttentionShape& shape = context.shape;
  const double theta = context.config.rope_theta;
  auto weight = [&](int parameter) { return context.parameters.weight(parameter); };
  auto weight_gradient = [&](int parameter) { return context.parameters.gradient(parameter); };
  Matrix mixed, query, key, value, normed;
  BALLAST_ASSIGN_OR_RETURN(mixed, scratch.mixed.Shape(mixed_.rows, mixed_.columns));
  BALLAST_ASSIGN_OR_RETURN(query, scratch.query.Shape(query_.rows, query_.columns));
  BALLAST_ASSIGN_OR_RETURN(key, scratch.key.Shape(key_.rows, key_.columns));
  BALLAST_ASSIGN_OR_RETURN(value, scratch.value.Shape(value_.rows, value_.columns));
  BALLAST_ASSIGN_OR_RETURN(normed, scratch.normed.Shape(normed_.rows, normed_.columns));

  backend.MatmulTN(stream, gradient, mixed_, weight_gradient(parameters.output), /*accumulate=*/true);
  backend.MatmulNN(stream, gradient, weight(parameters.output), mixed, /*accumulate=*/false);
  backend.AttentionBackward(stream, query_, key_, value_, mixed_, shape, saved_, mixed, query, key, value);
  backend.Rope(stream, query, shape, shape.heads, theta, /*backward=*/true);
  backend.Rope(stream, key, shape, shape.key_value_heads, theta, /*backward=*/true);
  backend.MatmulTN(stream, query, normed_, weight_gradient(parameters.query), /*accumulate=*/true);
  backend.MatmulTN(stream, key, normed_, weight_gradient(parameters.key), /*accumulate=*/true);
  backend.MatmulTN(stream, value, normed_, weight_gradient(parameters.value), /*accumulate=*/true);
  backend.MatmulNN(stream, query, weight(parameters.query), normed, /*accumulate=*/false);
  backend.MatmulNN(stream, key, weight(parameters.key), normed, /*accumulate=*/true);
  backend.MatmulNN(stream, value, weight(parameters.value), normed, /*accumulate=*/true);
  // What came in stays: it is the gradient through x itself.
  backend.RmsNormBackward(stream, x, weight(parameters.attention_norm).data, inverse_rms_, normed, gradient,
                          weight_gradient(parameters.attention_norm).data);
  return absl::OkStatus();
}

}  // namespace ballast
