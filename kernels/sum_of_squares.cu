// Sum of squares: a partial sum per block over a fixed share of the elements, then one block over the partial
// sums. The shares follow from the number of elements alone. One read of the array, bound by memory.
#include "kernels/check.h"
#include "kernels/device.cuh"
#include "kernels/sum_of_squares.h"

namespace ballast::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocksMax = 1024;

template <class T, int kWidth, bool kAligned>
__global__ void PartialKernel(int64_t packs, const T* __restrict__ x, double* __restrict__ partial) {
  double sum = 0;
  for (int64_t i = GridIndex(); i < packs; i += GridThreads()) {
    const auto values = LoadPack<T, kWidth, kAligned>(x + i * kWidth);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) sum += static_cast<double>(values.v[j]) * values.v[j];
  }
  sum = BlockSum<kThreads>(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void TotalKernel(int parts, const double* __restrict__ partial, double* __restrict__ out) {
  double sum = 0;
  for (int i = threadIdx.x; i < parts; i += kThreads) sum += partial[i];
  sum = BlockSum<kThreads>(sum);
  if (threadIdx.x == 0) *out = sum;
}

}  // namespace

size_t SumOfSquaresScratchBytes() { return kBlocksMax * sizeof(double); }

template <class T>
void SumOfSquares(int64_t elements, const T* x, void* scratch, double* out, Stream stream) {
  const Launch launch("sum_of_squares");
  auto* partial = static_cast<double*>(scratch);
  int blocks = 0;
  auto run = [&](auto width, auto aligned) {
    const int64_t packs = elements / width();
    blocks = std::min(GridBlocks(packs, kThreads), kBlocksMax);
    PartialKernel<T, width(), aligned()><<<blocks, kThreads, 0, stream>>>(packs, x, partial);
  };
  if (elements > 0) WithPacks<T>(elements, run, x);
  TotalKernel<<<1, kThreads, 0, stream>>>(blocks, partial, out);
  launch.Check();
}

template void SumOfSquares(int64_t, const float*, void*, double*, Stream);
template void SumOfSquares(int64_t, const BFloat16*, void*, double*, Stream);

}  // namespace ballast::kernels
