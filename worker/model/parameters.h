// ModelParameters: where the model finds compute weights and leaves gradients on this rank.
#pragma once

#include "base/ids.h"
#include "worker/backend/backend.h"
#include "worker/moe/expert_tensors.h"

namespace ballast {

// Views stay valid until the next switch of plans. The model adds to gradients, or writes those of experts
// where a microbatch says so (Microbatch::first_gradients); who implements this zeroes the dense ones.
class ModelParameters {
 public:
  virtual ~ModelParameters() = default;
  // Dense parameter by index into ParameterLayout::parameters(); vectors are [1, n].
  virtual Matrix weight(int parameter) const = 0;
  virtual Matrix gradient(int parameter) const = 0;
  // The slot `index` of MoE layer `layer` on this rank. Requires that the plan in force fills it.
  virtual ExpertTensors slot(LayerId layer, int index) const = 0;
};

}  // namespace ballast
