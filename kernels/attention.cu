// Attention: which kernels a type and a head size take, and what their backwards share.
#include "kernels/attention.h"
#include "kernels/attention_paths.h"
#include "kernels/check.h"
#include "kernels/device.cuh"

namespace ballast::kernels {
namespace {

constexpr int kDeltaThreads = 128;

// A warp per query of a head. delta [sequences * heads, length].
template <class T>
__global__ void DeltaKernel(const AttentionSizes sizes, const T* __restrict__ out,
                            const T* __restrict__ out_gradient, float* __restrict__ delta) {
  const int64_t at = GridIndex() / kWarp;
  if (at >= sizes.sequences * sizes.heads * sizes.length) return;
  const int64_t position = at % sizes.length;
  const int64_t head = at / sizes.length % sizes.heads;
  const int64_t sequence = at / sizes.length / sizes.heads;
  const int64_t begin = ((sequence * sizes.length + position) * sizes.heads + head) * sizes.head_size;
  float sum = 0;
  for (int d = threadIdx.x % kWarp; d < sizes.head_size; d += kWarp) {
    sum += ToFloat(out[begin + d]) * ToFloat(out_gradient[begin + d]);
  }
  sum = WarpSum(sum);
  if (threadIdx.x % kWarp == 0) delta[at] = sum;
}

}  // namespace

template <class T>
void AttentionForward(const AttentionSizes& sizes, const T* q, const T* k, const T* v, T* out,
                      float* log_sum_exp, Stream stream) {
  if (sizes.queries() == 0) return;
  const Launch launch("attention_forward");
  if constexpr (std::is_same_v<T, BFloat16>) {
    if (sizes.head_size <= tensor::kHeadSizeMax) {
      tensor::AttentionForward(sizes, q, k, v, out, log_sum_exp, stream);
      launch.Check();
      return;
    }
  }
  plain::AttentionForward(sizes, q, k, v, out, log_sum_exp, stream);
  launch.Check();
}

size_t AttentionBackwardScratchBytes(const AttentionSizes& sizes) {
  return static_cast<size_t>(sizes.queries()) * sizeof(float);
}

template <class T>
void AttentionBackward(const AttentionSizes& sizes, const AttentionInputs<T>& in, T* q_gradient,
                       T* k_gradient, T* v_gradient, void* scratch, Stream stream) {
  if (sizes.queries() == 0) return;
  const Launch launch("attention_backward");
  auto* delta = static_cast<float*>(scratch);
  constexpr int kWarpsPerBlock = kDeltaThreads / kWarp;
  DeltaKernel<<<(sizes.queries() + kWarpsPerBlock - 1) / kWarpsPerBlock, kDeltaThreads, 0, stream>>>(
      sizes, in.out, in.out_gradient, delta);
  if constexpr (std::is_same_v<T, BFloat16>) {
    if (sizes.head_size <= tensor::kHeadSizeMax) {
      tensor::AttentionBackward(sizes, in, delta, q_gradient, k_gradient, v_gradient, stream);
      launch.Check();
      return;
    }
  }
  plain::AttentionBackward(sizes, in, delta, q_gradient, k_gradient, v_gradient, stream);
  launch.Check();
}

template void AttentionForward(const AttentionSizes&, const float*, const float*, const float*, float*,
                               float*, Stream);
template void AttentionForward(const AttentionSizes&, const BFloat16*, const BFloat16*, const BFloat16*,
                               BFloat16*, float*, Stream);
template void AttentionBackward(const AttentionSizes&, const AttentionInputs<float>&, float*, float*, float*,
                                void*, Stream);
template void AttentionBackward(const AttentionSizes&, const AttentionInputs<BFloat16>&, BFloat16*, BFloat16*,
                                BFloat16*, void*, Stream);

}  // namespace ballast::kernels
