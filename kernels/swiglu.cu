// SwiGLU (Shazeer, arXiv 2002.05202): silu(gate) * up, silu(x) = x / (1 + exp(-x)); bound by memory.
#include "kernels/check.h"
#include "kernels/device.cuh"
#include "kernels/swiglu.h"

namespace ballast::kernels {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void ForwardKernel(int64_t elements, const T* __restrict__ gate, const T* __restrict__ up,
                              T* __restrict__ hidden) {
  for (int64_t i = GridIndex(); i < elements; i += GridThreads()) {
    const float g = ToFloat(gate[i]);
    hidden[i] = FromFloat<T>(g / (1 + expf(-g)) * ToFloat(up[i]));
  }
}

// The gradients may be written over gate and up: each element is read before it is written, by one thread.
template <class T>
__global__ void BackwardKernel(int64_t elements, const T* gate, const T* up, const T* hidden_gradient,
                               T* gate_gradient, T* up_gradient) {
  for (int64_t i = GridIndex(); i < elements; i += GridThreads()) {
    const float g = ToFloat(gate[i]);
    const float u = ToFloat(up[i]);
    const float gradient = ToFloat(hidden_gradient[i]);
    const float sigmoid = 1 / (1 + expf(-g));
    const float silu = g * sigmoid;
    up_gradient[i] = FromFloat<T>(gradient * silu);
    gate_gradient[i] = FromFloat<T>(gradient * u * (sigmoid + silu * (1 - sigmoid)));
  }
}

}  // namespace

template <class T>
void SwigluForward(int64_t elements, const T* gate, const T* up, T* hidden, Stream stream) {
  if (elements == 0) return;
  const Launch launch("swiglu_forward");
  ForwardKernel<<<GridBlocks(elements, kThreads), kThreads, 0, stream>>>(elements, gate, up, hidden);
  launch.Check();
}

template <class T>
void SwigluBackward(int64_t elements, const T* gate, const T* up, const T* hidden_gradient, T* gate_gradient,
                    T* up_gradient, Stream stream) {
  if (elements == 0) return;
  const Launch launch("swiglu_backward");
  BackwardKernel<<<GridBlocks(elements, kThreads), kThreads, 0, stream>>>(elements, gate, up, hidden_gradient,
                                                                          gate_gradient, up_gradient);
  launch.Check();
}

template void SwigluForward(int64_t, const float*, const float*, float*, Stream);
template void SwigluForward(int64_t, const BFloat16*, const BFloat16*, BFloat16*, Stream);
template void SwigluBackward(int64_t, const float*, const float*, const float*, float*, float*, Stream);
template void SwigluBackward(int64_t, const BFloat16*, const BFloat16*, const BFloat16*, BFloat16*, BFloat16*,
                             Stream);

}  // namespace ballast::kernels
