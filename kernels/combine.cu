// Combine: a block per token, sums in k order; bound by memory.
#include "kernels/check.h"
#include "kernels/combine.h"
#include "kernels/device.cuh"

namespace ballast::kernels {
namespace {

constexpr int kThreads = 128;

template <class T, int kWidth, bool kAligned>
__global__ void ForwardKernel(const CombineShape shape, const T* __restrict__ rows,
                              const int64_t* __restrict__ row_of, const float* __restrict__ weights,
                              T* __restrict__ out) {
  const int64_t token = blockIdx.x;
  row_of += token * shape.top_k;
  weights += token * shape.top_k;
  out += token * shape.columns;
  for (int64_t j = threadIdx.x * kWidth; j < shape.columns; j += kThreads * kWidth) {
    Floats<kWidth> sum = {};
    for (int k = 0; k < shape.top_k; ++k) {
      const auto row = LoadPack<T, kWidth, kAligned>(rows + row_of[k] * shape.columns + j);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) sum.v[i] += weights[k] * row.v[i];
    }
    StorePack<T, kWidth, kAligned>(sum, out + j);
  }
}

template <class T, int kWidth, bool kAligned>
__global__ void BackwardKernel(const CombineShape shape, const T* __restrict__ rows,
                               const int64_t* __restrict__ row_of, const float* __restrict__ weights,
                               const T* __restrict__ out_gradient, T* __restrict__ rows_gradient,
                               float* __restrict__ weights_gradient) {
  const int64_t token = blockIdx.x;
  out_gradient += token * shape.columns;
  for (int k = 0; k < shape.top_k; ++k) {
    const int64_t at = token * shape.top_k + k;
    const int64_t row = row_of[at] * shape.columns;
    const float weight = weights[at];
    float dot = 0;
    for (int64_t j = threadIdx.x * kWidth; j < shape.columns; j += kThreads * kWidth) {
      const auto gradient = LoadPack<T, kWidth, kAligned>(out_gradient + j);
      const auto forward = LoadPack<T, kWidth, kAligned>(rows + row + j);
      Floats<kWidth> scaled;
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        dot += gradient.v[i] * forward.v[i];
        scaled.v[i] = weight * gradient.v[i];
      }
      StorePack<T, kWidth, kAligned>(scaled, rows_gradient + row + j);
    }
    dot = BlockSum<kThreads>(dot);
    if (threadIdx.x == 0) weights_gradient[at] = dot;
  }
}

}  // namespace

template <class T>
void CombineForward(const CombineShape& shape, const T* rows, const int64_t* row_of, const float* weights,
                    T* out, Stream stream) {
  if (shape.tokens == 0 || shape.columns == 0) return;
  const Launch launch("combine_forward");
  auto run = [&](auto width, auto aligned) {
    ForwardKernel<T, width(), aligned()>
        <<<shape.tokens, kThreads, 0, stream>>>(shape, rows, row_of, weights, out);
  };
  WithPacks<T>(shape.columns, run, rows, out);
  launch.Check();
}

template <class T>
void CombineBackward(const CombineShape& shape, const T* rows, const int64_t* row_of, const float* weights,
                     const T* out_gradient, T* rows_gradient, float* weights_gradient, Stream stream) {
  if (shape.tokens == 0) return;
  const Launch launch("combine_backward");
  auto run = [&](auto width, auto aligned) {
    BackwardKernel<T, width(), aligned()><<<shape.tokens, kThreads, 0, stream>>>(
        shape, rows, row_of, weights, out_gradient, rows_gradient, weights_gradient);
  };
  WithPacks<T>(shape.columns, run, rows, out_gradient, rows_gradient);
  launch.Check();
}

template void CombineForward(const CombineShape&, const float*, const int64_t*, const float*, float*, Stream);
template void CombineForward(const CombineShape&, const BFloat16*, const int64_t*, const float*, BFloat16*,
                             Stream);
template void CombineBackward(const CombineShape&, const float*, const int64_t*, const float*, const float*,
                              float*, float*, Stream);
template void CombineBackward(const CombineShape&, const BFloat16*, const int64_t*, const float*,
                              const BFloat16*, BFloat16*, float*, Stream);

}  // namespace ballast::kernels
