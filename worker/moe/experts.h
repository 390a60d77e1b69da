// Experts: the SwiGLU feed-forward of every slot of this rank, over the rows that arrived for it.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "worker/backend/growing_buffer.h"
#include "worker/moe/moe_context.h"

namespace ballast {

// Gradients of inner activations, which no layer needs for longer than its own backward: all layers share
// one.
struct ExpertScratch {
  explicit ExpertScratch(Backend& backend) : hidden(backend, "scratch"), gate_up(backend, "scratch") {}
  GrowingBuffer hidden, gate_up;
};

// Keeps the inner activations of its last forward. One thread.
class Experts {
 public:
  Experts(int intermediate_size, Backend& backend);

  // in and out [rows, hidden], slot by slot: slot_rows[i] rows of slot i. A slot without rows is not touched.
  absl::Status Forward(const MoeContext& context, const std::vector<int64_t>& slot_rows, Matrix in,
                       Matrix out);

  // Of the last forward, whose slot_rows they were. in_gradient is overwritten.
  absl::Status Backward(const MoeContext& context, const std::vector<int64_t>& slot_rows, Matrix out_gradient,
                        Matrix in_gradient, ExpertScratch& scratch);
  // Of the last backward, whose out_gradient and scratch must still be there, on any stream behind it: the
  // slots' gradients are added to, or those of all slots are written when they are the first. `in` is that of
  // the forward.
  void WeightGradients(const MoeContext& context, Stream& stream, const std::vector<int64_t>& slot_rows,
                       Matrix in, Matrix out_gradient);

 private:
  const int intermediate_size_;
  GrowingBuffer gate_up_buffer_, hidden_buffer_;
  // Of the last forward: [rows, 2 * intermediate] and [rows, intermediate].
  Matrix gate_up_, hidden_;
  Matrix gate_up_gradient_;  // of the last backward
};

}  // namespace ballast
