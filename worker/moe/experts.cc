#include "worker/moe/experts.h"

#include "base/check.h"
#include "base/status_macros.h"

namespace ballast {
namespace {

using enum MatmulKind;

Matrix Part(const MoeContext& context, Matrix all, int64_t first, int64_t count) {
  char* data = static_cast<char*>(all.data) +
               static_cast<size_t>(first * all.columns) * context.backend.element_bytes();
  return {data, count, all.columns};
}

// What a slot that has rows computes on.
struct SlotPart {
  const ExpertTensors& expert;
  int64_t first;  // of its rows
  int64_t count;
};

// Of all filled slots, or of those that have rows.
std::vector<SlotPart> PartsOf(const MoeContext& context, const std::vector<int64_t>& slot_rows, int64_t rows,
                              bool all = false) {
  BALLAST_CHECK(slot_rows.size() == context.slots.size());
  std::vector<SlotPart> parts;
  int64_t first = 0;
  for (size_t slot = 0; slot < slot_rows.size(); ++slot) {
    const bool filled = context.slots[slot].w2.data != nullptr;
    BALLAST_CHECK(filled || slot_rows[slot] == 0) << "rows for slot " << slot << ", which is empty";
    if (slot_rows[slot] == 0 && !(all && filled)) continue;
    parts.push_back({context.slots[slot], first, slot_rows[slot]});
    first += slot_rows[slot];
  }
  BALLAST_CHECK(first == rows) << first << " rows of slots, " << rows << " given";
  return parts;
}

}  // namespace

Experts::Experts(int intermediate_size, Backend& backend)
    : intermediate_size_(intermediate_size),
      gate_up_buffer_(backend, "activations"),
      hidden_buffer_(backend, "activations") {}

absl::Status Experts::Forward(const MoeContext& context, const std::vector<int64_t>& slot_rows, Matrix in,
                              Matrix out) {
  BALLAST_ASSIGN_OR_RETURN(gate_up_, gate_up_buffer_.Shape(in.rows, 2 * intermediate_size_));
  BALLAST_ASSIGN_OR_RETURN(hidden_, hidden_buffer_.Shape(in.rows, intermediate_size_));
  std::vector<MatmulTask> inner, outer;
  for (const SlotPart& slot : PartsOf(context, slot_rows, in.rows)) {
    auto part = [&](Matrix all) { return Part(context, all, slot.first, slot.count); };
    inner.push_back({kNT, part(in), slot.expert.gate_up, part(gate_up_)});
    outer.push_back({kNT, part(hidden_), slot.expert.w2, part(out)});
  }
  context.backend.MatmulBatch(context.stream, inner);
  context.backend.SwigluForward(context.stream, gate_up_, hidden_);
  context.backend.MatmulBatch(context.stream, outer);
  return absl::OkStatus();
}

absl::Status Experts::Backward(const MoeContext& context, const std::vector<int64_t>& slot_rows,
                               Matrix out_gradient, Matrix in_gradient, ExpertScratch& scratch) {
  Matrix hidden_gradient;
  BALLAST_ASSIGN_OR_RETURN(hidden_gradient, scratch.hidden.Shape(in_gradient.rows, intermediate_size_));
  BALLAST_ASSIGN_OR_RETURN(gate_up_gradient_,
                           scratch.gate_up.Shape(in_gradient.rows, 2 * intermediate_size_));
  std::vector<MatmulTask> outer, inner;
  for (const SlotPart& slot : PartsOf(context, slot_rows, in_gradient.rows)) {
    auto part = [&](Matrix all) { return Part(context, all, slot.first, slot.count); };
    outer.push_back({kNN, part(out_gradient), slot.expert.w2, part(hidden_gradient)});
    inner.push_back({kNN, part(gate_up_gradient_), slot.expert.gate_up, part(in_gradient)});
  }
  context.backend.MatmulBatch(context.stream, outer);
  context.backend.SwigluBackward(context.stream, gate_up_, hidden_gradient, gate_up_gradient_);
  context.backend.MatmulBatch(context.stream, inner);
  return absl::OkStatus();
}

void Experts::WeightGradients(const MoeContext& context, Stream& stream,
                              const std::vector<int64_t>& slot_rows, Matrix in, Matrix out_gradient) {
  const bool add = !context.first_gradients;
  std::vector<MatmulTask> tasks;
  for (const SlotPart& slot : PartsOf(context, slot_rows, in.rows, /*all=*/!add)) {
    auto part = [&](Matrix all) { return Part(context, all, slot.first, slot.count); };
    tasks.push_back({kTN, part(out_gradient), part(hidden_), slot.expert.w2_gradient, add});
    tasks.push_back({kTN, part(gate_up_gradient_), part(in), slot.expert.gate_up_gradient, add});
  }
  context.backend.MatmulBatch(stream, tasks);
}

}  // namespace ballast
