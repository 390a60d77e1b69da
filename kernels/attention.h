// Causal grouped-query attention without an S x S matrix in memory, forward and backward.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/types.h"

namespace ballast::kernels {

// Largest head that the kernels take.
constexpr int kAttentionHeadSizeMax = 256;

// q, out and their gradients [sequences * length, heads * head_size]; k, v and theirs [.., key_value_heads *
// head_size]; log_sum_exp [sequences * heads, length], of the scaled scores of each query.
struct AttentionSizes {
  int64_t sequences = 0;
  int64_t length = 0;
  int heads = 0;
  int key_value_heads = 0;  // divides heads
  int head_size = 0;        // at most kAttentionHeadSizeMax
  int64_t queries() const { return sequences * heads * length; }
};

template <class T>
void AttentionForward(const AttentionSizes& sizes, const T* q, const T* k, const T* v, T* out,
                      float* log_sum_exp, Stream stream);

// Device memory that AttentionBackward needs while it runs.
size_t AttentionBackwardScratchBytes(const AttentionSizes& sizes);

template <class T>
struct AttentionInputs {
  const T* q = nullptr;
  const T* k = nullptr;
  const T* v = nullptr;
  const T* out = nullptr;
  const float* log_sum_exp = nullptr;
  const T* out_gradient = nullptr;
};
template <class T>
void AttentionBackward(const AttentionSizes& sizes, const AttentionInputs<T>& in, T* q_gradient,
                       T* k_gradient, T* v_gradient, void* scratch, Stream stream);

}  // namespace ballast::kernels
