// ExpertTensors: the weights of one expert slot and where its gradients are added.
#pragma once

#include "worker/backend/backend.h"

namespace ballast {

// Views. gate_up is w1 with w3 below it, [2 * intermediate, hidden], so that one product makes both; w2 is
// [hidden, intermediate]; gradients have the same shapes. Null data for a slot that the plan leaves empty.
struct ExpertTensors {
  Matrix gate_up, w2;
  Matrix gate_up_gradient, w2_gradient;
};

}  // namespace ballast
