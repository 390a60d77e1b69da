// AdamW over fp32 master weights and fp32 sums of gradients.
#pragma once

#include <cstdint>

#include "kernels/types.h"

namespace ballast::kernels {

// The constants of one update, worked out in double by the caller.
struct AdamWFactors {
  float beta1 = 0;
  float beta2 = 0;
  float rest1 = 0;            // 1 - beta1
  float rest2 = 0;            // 1 - beta2
  float gradient_scale = 1;   // clipping
  float rate = 0;             // learning rate / (1 - beta1^step)
  float root_correction = 0;  // 1 / sqrt(1 - beta2^step)
  float epsilon = 0;
  float keep = 1;  // 1 - learning rate * weight decay
};

template <class T>
void AdamW(const AdamWFactors& factors, int64_t elements, const float* gradient, float* master,
           float* moment1, float* moment2, T* compute_weights, Stream stream);

}  // namespace ballast::kernels
