// ExpertTensors: the weights of one expert slot and where its gradients are added.
#pragma once

#include "worker/backend/backend.h"

namespace ballast {

// Views. w1 and w3 are [intermediate, hidden], w2 is [hidden, intermediate]; gradients have the same shapes.
// Null data for a slot that the plan leaves empty.
struct ExpertTensors {
  Matrix w1, w2, w3;
  Matrix w1_gradient, w2_gradient, w3_gradient;
};

}  // namespace ballast
