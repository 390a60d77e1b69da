// Addition and scaling: one read and one write per operand, bound by memory.
#include "kernels/check.h"
#include "kernels/device.cuh"
#include "kernels/elementwise.h"

namespace ballast::kernels {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void AddKernel(int64_t elements, const T* __restrict__ x, T* __restrict__ y) {
  for (int64_t i = GridIndex(); i < elements; i += GridThreads()) {
    y[i] = FromFloat<T>(ToFloat(y[i]) + ToFloat(x[i]));
  }
}

template <class T>
__global__ void ScaleKernel(int64_t elements, float factor, T* x) {
  for (int64_t i = GridIndex(); i < elements; i += GridThreads()) {
    x[i] = FromFloat<T>(ToFloat(x[i]) * factor);
  }
}

}  // namespace

template <class T>
void Add(int64_t elements, const T* x, T* y, Stream stream) {
  if (elements == 0) return;
  const Launch launch("add");
  AddKernel<<<GridBlocks(elements, kThreads), kThreads, 0, stream>>>(elements, x, y);
  launch.Check();
}

template <class T>
void Scale(int64_t elements, float factor, T* x, Stream stream) {
  if (elements == 0) return;
  const Launch launch("scale");
  ScaleKernel<<<GridBlocks(elements, kThreads), kThreads, 0, stream>>>(elements, factor, x);
  launch.Check();
}

template void Add(int64_t, const float*, float*, Stream);
template void Add(int64_t, const BFloat16*, BFloat16*, Stream);
template void Scale(int64_t, float, float*, Stream);
template void Scale(int64_t, float, BFloat16*, Stream);

}  // namespace ballast::kernels
