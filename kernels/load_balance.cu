// Load-balance loss: E * sum over e of f_e P_e (Fedus et al., arXiv 2101.03961, per sequence instead of per
// batch), f_e the share of the sequence's assignments that went to expert e, P_e its mean probability.
//
// A block has some rows of one sequence, as one sequence can be the whole batch. The first launch counts
// their assignments with atomics on integers, whose order changes nothing, and sums their probabilities; the
// second, which knows all counts, writes the gradient, and its first block of a sequence the loss.
#include "kernels/check.h"
#include "kernels/device.cuh"
#include "kernels/load_balance.h"
#include "kernels/router.h"

namespace ballast::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int kRows = 64;  // of a block; sums follow from it, and not from the launch

int64_t Parts(const LoadBalanceShape& shape) { return (shape.length + kRows - 1) / kRows; }

// What the two launches share.
struct Scratch {
  double* probabilities;  // [sequences, parts, experts]: sums over a part's rows
  int* assigned;          // [sequences, experts]
};

// What a block has.
struct Part {
  int64_t sequence;
  int64_t index;  // in the sequence
  int64_t begin;  // row of all rows
  int rows;
};
__device__ Part PartOfBlock(const LoadBalanceShape& shape, int64_t parts) {
  Part part{blockIdx.x / parts, blockIdx.x % parts, 0, 0};
  const int64_t first = part.index * kRows;
  part.begin = part.sequence * shape.length + first;
  part.rows = static_cast<int>(min(static_cast<int64_t>(kRows), shape.length - first));
  return part;
}

__global__ void SumKernel(const LoadBalanceShape shape, int64_t parts,
                          const float* __restrict__ probabilities, const int32_t* __restrict__ chosen,
                          const Scratch out) {
  __shared__ int assigned[kRouterExpertsMax];
  __shared__ double of_group[kThreads];
  const int experts = shape.experts;
  const Part part = PartOfBlock(shape, parts);
  probabilities += part.begin * experts;
  chosen += part.begin * shape.top_k;

  for (int e = threadIdx.x; e < experts; e += kThreads) assigned[e] = 0;
  __syncthreads();
  for (int i = threadIdx.x; i < part.rows * shape.top_k; i += kThreads) atomicAdd(assigned + chosen[i], 1);
  __syncthreads();
  for (int e = threadIdx.x; e < experts; e += kThreads) {
    if (assigned[e] > 0) atomicAdd(out.assigned + part.sequence * experts + e, assigned[e]);
  }

  double* sums = out.probabilities + blockIdx.x * static_cast<int64_t>(experts);
  if (experts >= kThreads) {
    for (int e = threadIdx.x; e < experts; e += kThreads) {
      double sum = 0;
      for (int i = 0; i < part.rows; ++i) sum += probabilities[i * experts + e];
      sums[e] = sum;
    }
    return;
  }
  // Threads are groups of one for each expert; a group has every so-many-th row.
  const int groups = kThreads / experts;
  const int group = threadIdx.x / experts;
  double sum = 0;
  if (group < groups) {
    for (int i = group; i < part.rows; i += groups) sum += probabilities[i * experts + threadIdx.x % experts];
  }
  of_group[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x < experts) {
    for (int g = 1; g < groups; ++g) sum += of_group[g * experts + threadIdx.x];
    sums[threadIdx.x] = sum;
  }
}

__global__ void LossKernel(const LoadBalanceShape shape, int64_t parts, const Scratch in, double scale,
                           double* __restrict__ loss, float* __restrict__ probabilities_gradient) {
  const int experts = shape.experts;
  const Part part = PartOfBlock(shape, parts);
  const int* assigned = in.assigned + part.sequence * experts;
  const auto length = static_cast<double>(shape.length);
  const double assignments = length * shape.top_k;

  const double by = scale * experts / length / assignments;
  probabilities_gradient += part.begin * experts;
  for (int i = threadIdx.x; i < part.rows * experts; i += kThreads) {
    probabilities_gradient[i] = static_cast<float>(by * assigned[i % experts]);
  }
  if (part.index != 0) return;

  const double* sums = in.probabilities + part.sequence * parts * experts;
  double sum = 0;  // over the thread's experts, of count * sum over rows of the probability
  for (int e = threadIdx.x; e < experts; e += kThreads) {
    double probability = 0;
    for (int64_t p = 0; p < parts; ++p) probability += sums[p * experts + e];
    sum += assigned[e] * probability;
  }
  __shared__ double of_thread[kThreads];
  of_thread[threadIdx.x] = sum;
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) of_thread[threadIdx.x] += of_thread[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x == 0) loss[part.sequence] = experts * of_thread[0] / (assignments * length);
}

size_t SumBytes(const LoadBalanceShape& shape) {
  return static_cast<size_t>(shape.sequences * Parts(shape) * shape.experts) * sizeof(double);
}
size_t CountBytes(const LoadBalanceShape& shape) {
  return static_cast<size_t>(shape.sequences * shape.experts) * sizeof(int);
}

}  // namespace

size_t LoadBalanceScratchBytes(const LoadBalanceShape& shape) { return SumBytes(shape) + CountBytes(shape); }

void LoadBalance(const LoadBalanceShape& shape, const float* probabilities, const int32_t* chosen,
                 double scale, double* loss, float* probabilities_gradient, void* scratch, Stream stream) {
  if (shape.sequences == 0 || shape.length == 0) return;
  const Launch launch("load_balance");
  const Scratch between{static_cast<double*>(scratch),
                        reinterpret_cast<int*>(static_cast<char*>(scratch) + SumBytes(shape))};
  BALLAST_CUDA_CHECK(cudaMemsetAsync(between.assigned, 0, CountBytes(shape), stream));
  const int64_t parts = Parts(shape);
  const auto blocks = static_cast<unsigned>(shape.sequences * parts);
  SumKernel<<<blocks, kThreads, 0, stream>>>(shape, parts, probabilities, chosen, between);
  LossKernel<<<blocks, kThreads, 0, stream>>>(shape, parts, between, scale, loss, probabilities_gradient);
  launch.Check();
}

}  // namespace ballast::kernels
