#include "worker/optimizer/slot_store.h"

#include <vector>

#include "base/check.h"
#include "base/status_macros.h"
#include "worker/optimizer/memory.h"

namespace ballast {
namespace {

Matrix View(const Parameter& parameter, void* data) {
  if (parameter.shape.size() == 1) return {data, 1, parameter.shape[0]};
  return {data, parameter.shape[0], parameter.shape[1]};
}

}  // namespace

SlotStore::SlotStore(const ParameterLayout& layout, Rank self, int slots_per_rank, int64_t microbatches,
                     Backend& backend)
    : layout_(layout),
      self_(self),
      slots_per_rank_(slots_per_rank),
      microbatches_(microbatches),
      backend_(backend) {
  const std::vector<Parameter>& parameters = layout.parameters();
  for (size_t p = 0; p < parameters.size();) {
    if (parameters[p].expert.has_value()) {
      // w1, w2, w3 of one expert; in a slot w3 follows w1.
      BALLAST_CHECK(p + 2 < parameters.size() && parameters[p + 2].expert == parameters[p].expert)
          << "expert parameters do not follow each other";
      const int64_t w3 = parameters[p].elements;
      offset_.insert(offset_.end(), {0, w3 + parameters[p + 2].elements, w3});
      p += 3;
    } else {
      offset_.push_back(dense_elements_);
      dense_elements_ += parameters[p].elements;
      ++p;
    }
  }
  index_.assign(layout.layers(), std::vector<int>(layout.experts(), -1));
  held_.assign(layout.layers(), std::vector<Slot>(slots_per_rank));
}

absl::StatusOr<std::unique_ptr<SlotStore>> SlotStore::Make(const ParameterLayout& layout, Rank self,
                                                           int slots_per_rank, int64_t microbatches,
                                                           Backend& backend) {
  std::unique_ptr<SlotStore> store(new SlotStore(layout, self, slots_per_rank, microbatches, backend));
  const ElementSizes sizes{.element_bytes = backend.element_bytes(), .master_bytes = backend.master_bytes()};
  const auto elements = static_cast<size_t>(store->elements());
  BALLAST_ASSIGN_OR_RETURN(store->weights_,
                           backend.Allocate(elements * sizes.element_bytes, "compute weights"));
  BALLAST_ASSIGN_OR_RETURN(store->gradients_, backend.Allocate(elements * sizes.element_bytes, "gradients"));
  if (SumsGradients(sizes, microbatches > 1)) {
    BALLAST_ASSIGN_OR_RETURN(store->sums_, backend.Allocate(elements * sizes.master_bytes, "gradients"));
  }
  return store;
}

void SlotStore::Switch(Stream& stream, const PlanBody& plan, bool poison) {
  const std::vector<char> nans = ExpertOfNans(poison);
  for (int layer = 0; layer < layout_.layers(); ++layer) {
    const std::vector<Slot>& slots = plan.layers[layer].slots[self_.index()];
    BALLAST_CHECK(static_cast<int>(slots.size()) <= slots_per_rank_)
        << "a plan with too many slots got through";
    index_[layer].assign(layout_.experts(), -1);
    for (int i = 0; i < slots_per_rank_; ++i) {
      const Slot now = i < static_cast<int>(slots.size()) ? slots[i] : Slot();
      if (now.has_value()) index_[layer][now->index()] = i;
      if (poison && now != held_[layer][i]) {
        backend_.Copy(stream, At(weights_, SlotOffset(LayerId(layer), i)), nans.data(), nans.size());
      }
      held_[layer][i] = now;
    }
  }
}

bool SlotStore::BeginMicrobatch(Stream& stream, int64_t index, bool poison) {
  BALLAST_CHECK(index >= 0 && index < microbatches_) << "microbatch " << index << " of " << microbatches_;
  if (index > 0 && !sums_gradients()) return false;
  backend_.Zero(stream, gradients_.data(), static_cast<size_t>(dense_elements_) * backend_.element_bytes());
  const std::vector<char> nans = ExpertOfNans(poison);
  for (int layer = 0; poison && layer < layout_.layers(); ++layer) {
    for (int i = 0; i < slots_per_rank_; ++i)
      backend_.Copy(stream, At(gradients_, SlotOffset(LayerId(layer), i)), nans.data(), nans.size());
  }
  return true;
}

void SlotStore::EndMicrobatch(Stream& stream, int64_t index) {
  if (!sums_gradients()) return;
  if (index + 1 < microbatches_) {
    backend_.SumIntoMaster(stream, gradients_.data(), elements(), /*add=*/index > 0, sums_.data());
  } else {
    backend_.AddMaster(stream, sums_.data(), elements(), gradients_.data());
  }
}

// Empty unless `some`.
std::vector<char> SlotStore::ExpertOfNans(bool some) const {
  // All ones is a NaN of every type.
  return std::vector<char>(some ? layout_.expert_elements() * backend_.element_bytes() : 0,
                           static_cast<char>(0xff));
}

int64_t SlotStore::OffsetOf(BlockId id) const {
  const Block& block = layout_.block(id);
  const Parameter& parameter = layout_.parameters()[block.parameter];
  if (!parameter.expert.has_value()) return offset_[block.parameter] + block.offset;
  const int index = index_[parameter.layer->index()][parameter.expert->index()];
  BALLAST_CHECK(index >= 0) << "rank " << self_ << " does not hold " << parameter.name;
  return SlotOffset(*parameter.layer, index) + offset_[block.parameter] + block.offset;
}

void* SlotStore::BlockWeight(BlockId block) const { return At(weights_, OffsetOf(block)); }
void* SlotStore::BlockGradient(BlockId block) const { return At(gradients_, OffsetOf(block)); }

Matrix SlotStore::weight(int parameter) const {
  const Parameter& p = layout_.parameters()[parameter];
  BALLAST_CHECK(!p.expert.has_value()) << p.name << " is no dense parameter";
  return View(p, At(weights_, offset_[parameter]));
}

Matrix SlotStore::gradient(int parameter) const {
  const Parameter& p = layout_.parameters()[parameter];
  BALLAST_CHECK(!p.expert.has_value()) << p.name << " is no dense parameter";
  return View(p, At(gradients_, offset_[parameter]));
}

ExpertTensors SlotStore::slot(LayerId layer, int index) const {
  const Slot held = held_[layer.index()][index];
  BALLAST_CHECK(held.has_value()) << "slot " << index << " of layer " << layer << " is empty";
  const int first = layout_.ExpertParameter(layer, *held);
  auto view = [&](const Buffer& buffer, int which) {
    return View(layout_.parameters()[first + which],
                At(buffer, SlotOffset(layer, index) + offset_[first + which]));
  };
  auto gate_up = [&](const Buffer& buffer) {
    const Matrix w1 = view(buffer, 0);
    return Matrix{w1.data, 2 * w1.rows, w1.columns};
  };
  return {.gate_up = gate_up(weights_),
          .w2 = view(weights_, 1),
          .gate_up_gradient = gate_up(gradients_),
          .w2_gradient = view(gradients_, 1)};
}

}  // namespace ballast
