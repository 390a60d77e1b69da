// SwiGLU (Shazeer, arXiv 2002.05202): silu(gate) * up, silu(x) = x / (1 + exp(-x)); a block per row, bound by
// memory.
#include "kernels/check.h"
#include "kernels/device.cuh"
#include "kernels/swiglu.h"

namespace ballast::kernels {
namespace {

constexpr int kThreads = 128;

template <class T, int kWidth, bool kAligned>
__global__ void ForwardKernel(int64_t columns, const T* __restrict__ gate_up, T* __restrict__ hidden) {
  const T* gate = gate_up + blockIdx.x * 2 * columns;
  const T* up = gate + columns;
  hidden += blockIdx.x * columns;
  for (int64_t i = threadIdx.x * kWidth; i < columns; i += kThreads * kWidth) {
    const auto g = LoadPack<T, kWidth, kAligned>(gate + i);
    auto out = LoadPack<T, kWidth, kAligned>(up + i);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) out.v[j] *= g.v[j] / (1 + expf(-g.v[j]));
    StorePack<T, kWidth, kAligned>(out, hidden + i);
  }
}

// The gradient may be written over gate_up: each element is read before it is written, by one thread.
template <class T, int kWidth, bool kAligned>
__global__ void BackwardKernel(int64_t columns, const T* gate_up, const T* __restrict__ hidden_gradient,
                               T* gate_up_gradient) {
  const T* gate = gate_up + blockIdx.x * 2 * columns;
  const T* up = gate + columns;
  T* gate_gradient = gate_up_gradient + blockIdx.x * 2 * columns;
  T* up_gradient = gate_gradient + columns;
  hidden_gradient += blockIdx.x * columns;
  for (int64_t i = threadIdx.x * kWidth; i < columns; i += kThreads * kWidth) {
    const auto g = LoadPack<T, kWidth, kAligned>(gate + i);
    const auto u = LoadPack<T, kWidth, kAligned>(up + i);
    const auto gradient = LoadPack<T, kWidth, kAligned>(hidden_gradient + i);
    Floats<kWidth> to_gate, to_up;
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      const float sigmoid = 1 / (1 + expf(-g.v[j]));
      const float silu = g.v[j] * sigmoid;
      to_up.v[j] = gradient.v[j] * silu;
      to_gate.v[j] = gradient.v[j] * u.v[j] * (sigmoid + silu * (1 - sigmoid));
    }
    StorePack<T, kWidth, kAligned>(to_up, up_gradient + i);
    StorePack<T, kWidth, kAligned>(to_gate, gate_gradient + i);
  }
}

}  // namespace

template <class T>
void SwigluForward(int64_t rows, int64_t columns, const T* gate_up, T* hidden, Stream stream) {
  if (rows == 0 || columns == 0) return;
  const Launch launch("swiglu_forward");
  auto run = [&](auto width, auto aligned) {
    ForwardKernel<T, width(), aligned()><<<rows, kThreads, 0, stream>>>(columns, gate_up, hidden);
  };
  WithPacks<T>(columns, run, gate_up, hidden);
  launch.Check();
}

template <class T>
void SwigluBackward(int64_t rows, int64_t columns, const T* gate_up, const T* hidden_gradient,
                    T* gate_up_gradient, Stream stream) {
  if (rows == 0 || columns == 0) return;
  const Launch launch("swiglu_backward");
  auto run = [&](auto width, auto aligned) {
    BackwardKernel<T, width(), aligned()>
        <<<rows, kThreads, 0, stream>>>(columns, gate_up, hidden_gradient, gate_up_gradient);
  };
  WithPacks<T>(columns, run, gate_up, hidden_gradient, gate_up_gradient);
  launch.Check();
}

template void SwigluForward(int64_t, int64_t, const float*, float*, Stream);
template void SwigluForward(int64_t, int64_t, const BFloat16*, BFloat16*, Stream);
template void SwigluBackward(int64_t, int64_t, const float*, const float*, float*, Stream);
template void SwigluBackward(int64_t, int64_t, const BFloat16*, const BFloat16*, BFloat16*, Stream);

}  // namespace ballast::kernels
