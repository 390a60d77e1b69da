// SlotStore: compute weights and gradients of one rank: all dense parameters, and slots_per_rank expert slots
// per layer.
//
// A sum of many bfloat16 gradients kept in bfloat16 loses what is small beside it. So where a step has
// several microbatches, each leaves its own, and they are summed in the master type and rounded once (as
// Megatron-LM's main_grad; there the sum is not rounded).
#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "plan/layout.h"
#include "plan/plan.h"
#include "worker/backend/backend.h"
#include "worker/model/parameters.h"

namespace ballast {

// Used by the rank's thread alone. A slot's memory stays where it is; what the slots hold is the plan's.
class SlotStore final : public ModelParameters {
 public:
  static absl::StatusOr<std::unique_ptr<SlotStore>> Make(const ParameterLayout& layout, Rank self,
                                                         int slots_per_rank, int64_t microbatches,
                                                         Backend& backend);

  // From here on the slots hold what `plan` says. Their content is left alone: an expert that stays keeps its
  // index. Slots that hold another expert than before, or none, are filled with NaN if `poison`.
  void Switch(Stream& stream, const PlanBody& plan, bool poison);
  // Around what microbatch `index`, in 0..microbatches - 1, leaves in the gradients. True: dense gradients
  // are zero and those of experts are to be written, whatever they hold: NaN if `poison`; false: all are to
  // be added to. Behind the last one the gradients are those of the step.
  bool BeginMicrobatch(Stream& stream, int64_t index, bool poison);
  void EndMicrobatch(Stream& stream, int64_t index);

  // The block's elements. Require that this rank holds the block under the plan of the last Switch.
  void* BlockWeight(BlockId block) const;
  void* BlockGradient(BlockId block) const;

  Matrix weight(int parameter) const override;
  Matrix gradient(int parameter) const override;
  ExpertTensors slot(LayerId layer, int index) const override;

 private:
  SlotStore(const ParameterLayout& layout, Rank self, int slots_per_rank, int64_t microbatches,
            Backend& backend);
  int64_t elements() const { return SlotOffset(LayerId(layout_.layers()), 0); }
  bool sums_gradients() const { return sums_.data() != nullptr; }
  int64_t SlotOffset(LayerId layer, int index) const {
    return dense_elements_ + (layer.index() * slots_per_rank_ + index) * layout_.expert_elements();
  }
  std::vector<char> ExpertOfNans(bool some) const;
  int64_t OffsetOf(BlockId block) const;
  void* At(const Buffer& buffer, int64_t element) const {
    return static_cast<char*>(buffer.data()) + element * backend_.element_bytes();
  }

  const ParameterLayout& layout_;
  const Rank self_;
  const int slots_per_rank_;
  const int64_t microbatches_;
  Backend& backend_;
  int64_t dense_elements_ = 0;
  std::vector<int64_t> offset_;  // [parameter] dense: element; expert: element from the begin of its slot
  std::vector<std::vector<int>> index_;  // [layer][expert] -> slot index here, -1 = none
  std::vector<std::vector<Slot>> held_;  // [layer][index]
  Buffer weights_;                       // dense parameters, then slots [layer][index]
  Buffer gradients_;                     // the same shape
  Buffer sums_;  // the same shape, of the master type; none where gradients are added up in place
};

}  // namespace ballast
