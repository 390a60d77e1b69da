// Addition, sums of gradients and scaling: one read and one write per operand, bound by memory.
#include "kernels/check.h"
#include "kernels/device.cuh"
#include "kernels/elementwise.h"

namespace ballast::kernels {
namespace {

constexpr int kThreads = 256;

template <class X, class T, int kWidth, bool kAligned>
__global__ void AddKernel(int64_t packs, const X* __restrict__ x, T* __restrict__ y) {
  for (int64_t i = GridIndex(); i < packs; i += GridThreads()) {
    const auto own = LoadPack<X, kWidth, kAligned>(x + i * kWidth);
    auto sum = LoadPack<T, kWidth, kAligned>(y + i * kWidth);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) sum.v[j] += own.v[j];
    StorePack<T, kWidth, kAligned>(sum, y + i * kWidth);
  }
}

template <class T, int kWidth, bool kAligned, bool kAdd>
__global__ void SumIntoFloatKernel(int64_t packs, const T* __restrict__ x, float* __restrict__ sum) {
  for (int64_t i = GridIndex(); i < packs; i += GridThreads()) {
    auto value = LoadPack<T, kWidth, kAligned>(x + i * kWidth);
    if constexpr (kAdd) {
      const auto before = LoadPack<float, kWidth, kAligned>(sum + i * kWidth);
#pragma unroll
      for (int j = 0; j < kWidth; ++j) value.v[j] += before.v[j];
    }
    StorePack<float, kWidth, kAligned>(value, sum + i * kWidth);
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

// In packs of X, the wider type.
template <class X, class T>
void AddAs(const char* name, int64_t elements, const X* x, T* y, Stream stream) {
  if (elements == 0) return;
  const Launch launch(name);
  auto run = [&](auto width, auto aligned) {
    const int64_t packs = elements / width();
    AddKernel<X, T, width(), aligned()><<<GridBlocks(packs, kThreads), kThreads, 0, stream>>>(packs, x, y);
  };
  WithPacks<X>(elements, run, x, y);
  launch.Check();
}

template <class T>
void Add(int64_t elements, const T* x, T* y, Stream stream) {
  AddAs("add", elements, x, y, stream);
}

template <class T>
void AddFloat(int64_t elements, const float* x, T* y, Stream stream) {
  AddAs("add_float", elements, x, y, stream);
}

template <class T>
void SumIntoFloat(int64_t elements, const T* x, bool add, float* sum, Stream stream) {
  if (elements == 0) return;
  const Launch launch("sum_into_float");
  auto run = [&](auto width, auto aligned) {
    const int64_t packs = elements / width();
    const int blocks = GridBlocks(packs, kThreads);
    if (add) {
      SumIntoFloatKernel<T, width(), aligned(), true><<<blocks, kThreads, 0, stream>>>(packs, x, sum);
    } else {
      SumIntoFloatKernel<T, width(), aligned(), false><<<blocks, kThreads, 0, stream>>>(packs, x, sum);
    }
  };
  WithPacks<float>(elements, run, x, sum);
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
template void AddFloat(int64_t, const float*, float*, Stream);
template void AddFloat(int64_t, const float*, BFloat16*, Stream);
template void SumIntoFloat(int64_t, const float*, bool, float*, Stream);
template void SumIntoFloat(int64_t, const BFloat16*, bool, float*, Stream);
template void Scale(int64_t, float, float*, Stream);
template void Scale(int64_t, float, BFloat16*, Stream);

}  // namespace ballast::kernels
