// The two ways that attention.h takes: `tensor` in bfloat16 on the tensor cores, for heads of at most
// tensor::kHeadSizeMax, `plain` for all else. Operands are those of attention.h; nothing is empty.
#pragma once

#include <cmath>

#include "kernels/attention.h"

namespace ballast::kernels {

inline float SoftmaxScale(const AttentionSizes& sizes) {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(sizes.head_size)));
}

namespace plain {
template <class T>
void AttentionForward(const AttentionSizes& sizes, const T* q, const T* k, const T* v, T* out,
                      float* log_sum_exp, Stream stream);
// delta [sequences * heads, length]: <out, out_gradient> of each query.
template <class T>
void AttentionBackward(const AttentionSizes& sizes, const AttentionInputs<T>& in, const float* delta,
                       T* q_gradient, T* k_gradient, T* v_gradient, Stream stream);
}  // namespace plain

namespace tensor {
constexpr int kHeadSizeMax = 128;
void AttentionForward(const AttentionSizes& sizes, const BFloat16* q, const BFloat16* k, const BFloat16* v,
                      BFloat16* out, float* log_sum_exp, Stream stream);
void AttentionBackward(const AttentionSizes& sizes, const AttentionInputs<BFloat16>& in, const float* delta,
                       BFloat16* q_gradient, BFloat16* k_gradient, BFloat16* v_gradient, Stream stream);
}  // namespace tensor

}  // namespace ballast::kernels
