// Where the model's dense parameters stand in the layout.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "plan/layout.h"

namespace ballast {

// Indices into ParameterLayout::parameters().
struct LayerParameters {
  int attention_norm = 0;
  int query = 0;
  int key = 0;
  int value = 0;
  int output = 0;
  int moe_norm = 0;
  int router = 0;
};

struct DenseParameters {
  int embedding = 0;
  std::vector<LayerParameters> layers;
  int final_norm = 0;
  int head = 0;
};

// InvalidArgument names a parameter that the layout lacks or has in another shape than `model` needs.
absl::StatusOr<DenseParameters> FindDenseParameters(const ModelConfig& model, const ParameterLayout& layout);

}  // namespace ballast
