// AttentionBlock: out = x + attention(norm(x)), with rotary embedding and grouped queries.
#pragma once

#include "absl/status/status.h"
#include "worker/backend/growing_buffer.h"
#include "worker/model/block_context.h"
#include "worker/model/dense_parameters.h"

namespace ballast {

// Gradients of inner activations; all layers share one.
struct AttentionScratch {
  explicit AttentionScratch(Backend& backend)
      : mixed(backend, "scratch"),
        query(backend, "scratch"),
        key(backend, "scratch"),
        value(backend, "scratch"),
        normed(backend, "scratch") {}
  GrowingBuffer mixed, query, key, value, normed;
};

// Keeps what its backward needs from its last forward; may serve several layers in turn. One thread.
class AttentionBlock {
 public:
  explicit AttentionBlock(Backend& backend);

  // x and out [tokens, hidden], different memory.
  absl::Status Forward(const BlockContext& context, const LayerParameters& parameters, Matrix x, Matrix out);

  // Of the last forward, whose parameters and x they were. `gradient` is that of out on entry and that of x
  // on return.
  absl::Status Backward(const BlockContext& context, const LayerParameters& parameters, Matrix x,
                        Matrix gradient, AttentionScratch& scratch);

 private:
  GrowingBuffer inverse_rms_buffer_, normed_buffer_, query_buffer_, key_buffer_, value_buffer_, saved_buffer_,
      mixed_buffer_;
  // Of the last forward.
  double* inverse_rms_ = nullptr;  // [tokens]
  Matrix normed_;                  // [tokens, hidden]
  Matrix query_;                   // [tokens, heads * head_size], rotated
  Matrix key_, value_;             // [tokens, key_value_heads * head_size], the keys rotated
  char* saved_ = nullptr;          // AttentionSavedBytes
  Matrix mixed_;                   // [tokens, heads * head_size]
};

}  // namespace ballast
