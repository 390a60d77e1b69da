// A block per run; a thread adds every so-many-th value, then a fixed tree.
#include "kernels/check.h"
#include "kernels/device.cuh"
#include "kernels/mean_squares.h"

namespace ballast::kernels {
namespace {

constexpr int kThreads = 256;

__global__ void MeanSquaresKernel(const double* __restrict__ values, int64_t length,
                                  double* __restrict__ out) {
  values += blockIdx.x * length;
  double sum = 0;
  for (int64_t i = threadIdx.x; i < length; i += kThreads) sum += values[i] * values[i];
  sum = BlockSum<kThreads>(sum);
  if (threadIdx.x == 0) out[blockIdx.x] = length > 0 ? sum / static_cast<double>(length) : 0;
}

}  // namespace

void MeanSquares(const double* values, int64_t runs, int64_t length, double* out, Stream stream) {
  if (runs == 0) return;
  const Launch launch("mean_squares");
  MeanSquaresKernel<<<runs, kThreads, 0, stream>>>(values, length, out);
  launch.Check();
}

}  // namespace ballast::kernels
