// What tests of the optimizer share: a configuration, its view of blocks, and windows that are large enough.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "plan/layout.h"
#include "plan/plan.h"
#include "worker/optimizer/optimizer.h"
#include "worker/optimizer/window_size.h"

namespace ballast {

inline constexpr int kSlotsPerRank = 5;

inline OptimizerConfig Config() {
  OptimizerConfig config;
  config.learning_rate = 0.1;
  config.learning_rate_min = 0.01;
  config.warmup_steps = 3;
  config.weight_decay = 0.1;
  config.clip_norm = 0.5;
  return config;
}

// Of a job whose ranks have no sequences.
inline OptimizerOptions OptionsFor(int ranks, int64_t steps, size_t window_bytes) {
  OptimizerOptions options;
  options.config = Config();
  options.steps = steps;
  options.slots_per_rank = kSlotsPerRank;
  options.sequences.assign(static_cast<size_t>(ranks), 0);
  options.window_bytes = window_bytes;
  return options;
}

// Pointers to the elements of a block through the model's view of the parameters, which are of type T.
template <class T = float>
T* BlockIn(const ParameterLayout& layout, const PlanBody& plan, const ModelParameters& parameters, Rank self,
           BlockId id, bool gradient) {
  const Block& block = layout.block(id);
  const Parameter& parameter = layout.parameters()[block.parameter];
  Matrix matrix;
  if (parameter.expert.has_value()) {
    const int index = *plan.layers[parameter.layer->index()].SlotIndex(self, *parameter.expert);
    const ExpertTensors tensors = parameters.slot(*parameter.layer, index);
    const int which = block.parameter - layout.ExpertParameter(*parameter.layer, *parameter.expert);
    if (which == 1) {
      matrix = gradient ? tensors.w2_gradient : tensors.w2;
    } else {
      // w1, then w3.
      matrix = gradient ? tensors.gate_up_gradient : tensors.gate_up;
      matrix.rows /= 2;
      if (which == 2) matrix.data = static_cast<T*>(matrix.data) + matrix.elements();
    }
  } else {
    matrix = gradient ? parameters.gradient(block.parameter) : parameters.weight(block.parameter);
  }
  EXPECT_EQ(matrix.elements(), parameter.elements);
  return static_cast<T*>(matrix.data) + block.offset;
}

inline constexpr ElementSizes kSizes{.element_bytes = sizeof(float), .master_bytes = sizeof(float)};

// The least that all ranks can run `plans` with, one after the other, random ones as well.
inline size_t WindowsFor(const ParameterLayout& layout, const std::vector<PlanPtr>& plans) {
  size_t most = 0;
  for (size_t i = 0; i < plans.size(); ++i) {
    for (size_t next = i; next < std::min(i + 2, plans.size()); ++next) {
      for (size_t rank = 0; rank < plans[i]->body.speeds.size(); ++rank) {
        const WindowNeed need = NeededWindows(layout, kSizes, plans[i]->body, plans[next]->body,
                                              Rank(static_cast<int32_t>(rank)));
        most = std::max({most, need.send, need.recv});
      }
    }
  }
  return most;
}

}  // namespace ballast
