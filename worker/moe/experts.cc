#include "worker/moe/experts.h"

#include <functional>

#include "base/check.h"
#include "base/status_macros.h"

namespace ballast {
namespace {

// Calls `work` with the tensors and the run of rows of every slot that has rows.
void ForEachSlot(const MoeContext& context, const std::vector<int64_t>& slot_rows, int64_t rows,
                 const std::function<void(const ExpertTensors&, int64_t first, int64_t count)>& work) {
  BALLAST_CHECK(slot_rows.size() == context.slots.size());
  int64_t first = 0;
  for (size_t slot = 0; slot < slot_rows.size(); ++slot) {
    if (slot_rows[slot] == 0) continue;
    BALLAST_CHECK(context.slots[slot].w1.data != nullptr) << "rows for slot " << slot << ", which is empty";
    work(context.slots[slot], first, slot_rows[slot]);
    first += slot_rows[slot];
  }
  BALLAST_CHECK(first == rows) << first << " rows of slots, " << rows << " given";
}

Matrix Part(const MoeContext& context, Matrix all, int64_t first, int64_t count) {
  char* data = static_cast<char*>(all.data) +
               static_cast<size_t>(first * all.columns) * context.backend.element_bytes();
  return {data, count, all.columns};
}

}  // namespace

Experts::Experts(int intermediate_size, Backend& backend)
    : intermediate_size_(intermediate_size),
      gate_buffer_(backend, "activations"),
      up_buffer_(backend, "activations"),
      hidden_buffer_(backend, "activations") {}

absl::Status Experts::Forward(const MoeContext& context, const std::vector<int64_t>& slot_rows, Matrix in,
                              Matrix out) {
  BALLAST_ASSIGN_OR_RETURN(gate_, gate_buffer_.Shape(in.rows, intermediate_size_));
  BALLAST_ASSIGN_OR_RETURN(up_, up_buffer_.Shape(in.rows, intermediate_size_));
  BALLAST_ASSIGN_OR_RETURN(hidden_, hidden_buffer_.Shape(in.rows, intermediate_size_));
  ForEachSlot(context, slot_rows, in.rows, [&](const ExpertTensors& expert, int64_t first, int64_t count) {
    auto part = [&](Matrix all) { return Part(context, all, first, count); };
    context.backend.MatmulNT(context.stream, part(in), expert.w1, part(gate_), /*accumulate=*/false);
    context.backend.MatmulNT(context.stream, part(in), expert.w3, part(up_), /*accumulate=*/false);
    context.backend.SwigluForward(context.stream, part(gate_), part(up_), part(hidden_));
    context.backend.MatmulNT(context.stream, part(hidden_), expert.w2, part(out), /*accumulate=*/false);
  });
  return absl::OkStatus();
}

absl::Status Experts::Backward(const MoeContext& context, const std::vector<int64_t>& slot_rows, Matrix in,
                               Matrix out_gradient, Matrix in_gradient, ExpertScratch& scratch) {
  Matrix hidden_gradient, gate_gradient, up_gradient;
  BALLAST_ASSIGN_OR_RETURN(hidden_gradient, scratch.hidden.Shape(in.rows, intermediate_size_));
  BALLAST_ASSIGN_OR_RETURN(gate_gradient, scratch.gate.Shape(in.rows, intermediate_size_));
  BALLAST_ASSIGN_OR_RETURN(up_gradient, scratch.up.Shape(in.rows, intermediate_size_));
  ForEachSlot(context, slot_rows, in.rows, [&](const ExpertTensors& expert, int64_t first, int64_t count) {
    auto part = [&](Matrix all) { return Part(context, all, first, count); };
    Backend& backend = context.backend;
    Stream& stream = context.stream;
    backend.MatmulNN(stream, part(out_gradient), expert.w2, part(hidden_gradient), /*accumulate=*/false);
    backend.MatmulTN(stream, part(out_gradient), part(hidden_), expert.w2_gradient, /*accumulate=*/true);
    backend.SwigluBackward(stream, part(gate_), part(up_), part(hidden_gradient), part(gate_gradient),
                           part(up_gradient));
    backend.MatmulTN(stream, part(gate_gradient), part(in), expert.w1_gradient, /*accumulate=*/true);
    backend.MatmulTN(stream, part(up_gradient), part(in), expert.w3_gradient, /*accumulate=*/true);
    backend.MatmulNN(stream, part(gate_gradient), expert.w1, part(in_gradient), /*accumulate=*/false);
    backend.MatmulNN(stream, part(up_gradient), expert.w3, part(in_gradient), /*accumulate=*/true);
  });
  return absl::OkStatus();
}

}  // namespace ballast
