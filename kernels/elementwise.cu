// Addition and scaling: one read and one write per operand, bound by memory.
#include <type_traits>

#include "kernels/check.h"
#include "kernels/device.cuh"
#include "kernels/elementwise.h"

namespace ballast::kernels {
namespace {

constexpr int kThreads = 256;

template <class X, class Y, int kWidth, bool kAligned>
__global__ void AddKernel(int64_t packs, const X* __restrict__ x, Y* __restrict__ y) {
  for (int64_t i = GridIndex(); i < packs; i += GridThreads()) {
    const auto own = LoadPack<X, kWidth, kAligned>(x + i * kWidth);
    auto sum = LoadPack<Y, kWidth, kAligned>(y + i * kWidth);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) sum.v[j] += own.v[j];
    StorePack<Y, kWidth, kAligned>(sum, y + i * kWidth);
  }
}

template <class T, int kWidth, bool kAligned>
__global__ void ScaleKernel(int64_t packs, float factor, T* x) {
  for (int64_t i = GridIndex(); i < packs; i += GridThreads()) {
    auto value = LoadPack<T, kWidth, kAligned>(x + i * kWidth);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) value.v[j] *= factor;
    StorePack<T, kWidth, kAligned>(value, x + i * kWidth);
  }
}

}  // namespace

template <class X, class Y>
void Add(int64_t elements, const X* x, Y* y, Stream stream) {
  if (elements == 0) return;
  const Launch launch("add");
  auto run = [&](auto width, auto aligned) {
    const int64_t packs = elements / width();
    AddKernel<X, Y, width(), aligned()><<<GridBlocks(packs, kThreads), kThreads, 0, stream>>>(packs, x, y);
  };
  // No load may be wider than what is checked to be aligned.
  WithPacks<std::conditional_t<(sizeof(X) > sizeof(Y)), X, Y>>(elements, run, x, y);
  launch.Check();
}

template <class T>
void Scale(int64_t elements, float factor, T* x, Stream stream) {
  if (elements == 0) return;
  const Launch launch("scale");
  auto run = [&](auto width, auto aligned) {
    const int64_t packs = elements / width();
    ScaleKernel<T, width(), aligned()>
        <<<GridBlocks(packs, kThreads), kThreads, 0, stream>>>(packs, factor, x);
  };
  WithPacks<T>(elements, run, x);
  launch.Check();
}

template void Add(int64_t, const float*, float*, Stream);
template void Add(int64_t, const BFloat16*, BFloat16*, Stream);
template void Add(int64_t, const float*, BFloat16*, Stream);
template void Add(int64_t, const BFloat16*, float*, Stream);
template void Scale(int64_t, float, float*, Stream);
template void Scale(int64_t, float, BFloat16*, Stream);

}  // namespace ballast::kernels
