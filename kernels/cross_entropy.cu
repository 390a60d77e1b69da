// Cross-entropy: a block per row, which it reads three times (highest, sum, gradient), from the cache but for
// the first.
#include "kernels/check.h"
#include "kernels/cross_entropy.h"
#include "kernels/device.cuh"

namespace ballast::kernels {
namespace {

constexpr int kThreads = 512;

template <class T>
__global__ void CrossEntropyKernel(int64_t columns, const T* logits, const int32_t* __restrict__ targets,
                                   double scale, double* __restrict__ row_loss, T* logits_gradient) {
  const int64_t row = blockIdx.x;
  logits += row * columns;
  logits_gradient += row * columns;
  float highest = -INFINITY;
  for (int64_t j = threadIdx.x; j < columns; j += kThreads) highest = max(highest, ToFloat(logits[j]));
  highest = BlockMax<kThreads>(highest);
  double sum = 0;
  for (int64_t j = threadIdx.x; j < columns; j += kThreads) sum += expf(ToFloat(logits[j]) - highest);
  sum = BlockSum<kThreads>(sum);
  const int32_t target = targets[row];
  if (threadIdx.x == 0) {
    row_loss[row] = log(sum) + static_cast<double>(highest) - static_cast<double>(ToFloat(logits[target]));
  }
  __syncthreads();  // the target's logit is read; from here on the row may be overwritten
  const float by = static_cast<float>(scale / sum);
  const float subtract = static_cast<float>(scale);
  for (int64_t j = threadIdx.x; j < columns; j += kThreads) {
    const float share = expf(ToFloat(logits[j]) - highest) * by;
    logits_gradient[j] = FromFloat<T>(j == target ? share - subtract : share);
  }
}

}  // namespace

template <class T>
void CrossEntropy(int64_t rows, int64_t columns, const T* logits, const int32_t* targets, double scale,
                  double* row_loss, T* logits_gradient, Stream stream) {
  if (rows == 0) return;
  const Launch launch("cross_entropy");
  CrossEntropyKernel<<<rows, kThreads, 0, stream>>>(columns, logits, targets, scale, row_loss,
                                                    logits_gradient);
  launch.Check();
}

template void CrossEntropy(int64_t, int64_t, const float*, const int32_t*, double, double*, float*, Stream);
template void CrossEntropy(int64_t, int64_t, const BFloat16*, const int32_t*, double, double*, BFloat16*,
                           Stream);

}  // namespace ballast::kernels
