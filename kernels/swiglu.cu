// SwiGLU (Shazeer, arXiv 2002.05202): silu(gate) * up, silu(x) = x / (1 + exp(-x)); bound by memory.
#include "kernels/check.h"
#include "kernels/device.cuh"
#include "kernels/swiglu.h"

namespace ballast::kernels {
namespace {

constexpr int kThreads = 256;

template <class T, int kWidth, bool kAligned>
__global__ void ForwardKernel(int64_t elements, const T* __restrict__ gate, const T* __restrict__ up,
                              T* __restrict__ hidden) {
  for (int64_t i = GridIndex() * kWidth; i < elements; i += GridThreads() * kWidth) {
    const auto g = LoadPack<T, kWidth, kAligned>(gate + i);
    auto out = LoadPack<T, kWidth, kAligned>(up + i);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) out.v[j] *= g.v[j] / (1 + expf(-g.v[j]));
    StorePack<T, kWidth, kAligned>(out, hidden + i);
  }
}

// The gradients may be written over gate and up: each element is read before it is written, by one thread.
template <class T, int kWidth, bool kAligned>
__global__ void BackwardKernel(int64_t elements, const T* gate, const T* up, const T* hidden_gradient,
                               T* gate_gradient, T* up_gradient) {
  for (int64_t i = GridIndex() * kWidth; i < elements; i += GridThreads() * kWidth) {
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
void SwigluForward(int64_t elements, const T* gate, const T* up, T* hidden, Stream stream) {
  if (elements == 0) return;
  const Launch launch("swiglu_forward");
  auto run = [&](auto width, auto aligned) {
    ForwardKernel<T, width(), aligned()>
        <<<GridBlocks(elements / width(), kThreads), kThreads, 0, stream>>>(elements, gate, up, hidden);
  };
  WithPacks<T>(elements, run, gate, up, hidden);
  launch.Check();
}

template <class T>
void SwigluBackward(int64_t elements, const T* gate, const T* up, const T* hidden_gradient, T* gate_gradient,
                    T* up_gradient, Stream stream) {
  if (elements == 0) return;
  const Launch launch("swiglu_backward");
  auto run = [&](auto width, auto aligned) {
    BackwardKernel<T, width(), aligned()><<<GridBlocks(elements / width(), kThreads), kThreads, 0, stream>>>(
        elements, gate, up, hidden_gradient, gate_gradient, up_gradient);
  };
  WithPacks<T>(elements, run, gate, up, hidden_gradient, gate_gradient, up_gradient);
  launch.Check();
}

template void SwigluForward(int64_t, const float*, const float*, float*, Stream);
template void SwigluForward(int64_t, const BFloat16*, const BFloat16*, BFloat16*, Stream);
template void SwigluBackward(int64_t, const float*, const float*, const float*, float*, float*, Stream);
template void SwigluBackward(int64_t, const BFloat16*, const BFloat16*, const BFloat16*, BFloat16*, BFloat16*,
                             Stream);

}  // namespace ballast::kernels
