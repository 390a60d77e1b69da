// Load-balance loss: E * sum over e of f_e P_e (Fedus et al., arXiv 2101.03961, per sequence instead of per
// batch), f_e the share of the sequence's assignments that went to expert e, P_e its mean probability.
//
// A block per sequence. Assignments are counted with atomics on integers, whose order changes nothing;
// probabilities are summed by threads that each have one expert and every so-many-th row.
#include "kernels/check.h"
#include "kernels/device.cuh"
#include "kernels/load_balance.h"
#include "kernels/router.h"

namespace ballast::kernels {
namespace {

constexpr int kThreads = 256;

__global__ void LoadBalanceKernel(const LoadBalanceShape shape, const float* __restrict__ probabilities,
                                  const int32_t* __restrict__ chosen, double scale, double* __restrict__ loss,
                                  float* __restrict__ probabilities_gradient) {
  __shared__ int assigned[kRouterExpertsMax];
  __shared__ double part[kThreads];
  const int experts = shape.experts;
  const int64_t begin = blockIdx.x * shape.length;
  probabilities += begin * experts;
  probabilities_gradient += begin * experts;
  chosen += begin * shape.top_k;

  for (int e = threadIdx.x; e < experts; e += kThreads) assigned[e] = 0;
  __syncthreads();
  const int64_t assignments = shape.length * shape.top_k;
  for (int64_t i = threadIdx.x; i < assignments; i += kThreads) atomicAdd(assigned + chosen[i], 1);
  __syncthreads();

  // sum over e of count_e * (sum over rows of p_e): a thread's share of it.
  const int groups = max(kThreads / experts, 1);
  const int group = threadIdx.x / experts;  // 0 for all threads when there are more experts than threads
  double sum = 0;
  if (group < groups) {
    for (int e = threadIdx.x % experts; e < experts; e += min(kThreads, experts)) {
      double probability = 0;
      for (int64_t i = group; i < shape.length; i += groups) probability += probabilities[i * experts + e];
      sum += assigned[e] * probability;
    }
  }
  part[threadIdx.x] = sum;
  __syncthreads();
  const auto length = static_cast<double>(shape.length);
  if (threadIdx.x == 0) {
    double total = 0;
    for (int t = 0; t < kThreads; ++t) total += part[t];
    loss[blockIdx.x] = experts * total / (static_cast<double>(assignments) * length);
  }
  const double by = scale * experts / length / static_cast<double>(assignments);
  for (int64_t i = threadIdx.x; i < shape.length * experts; i += kThreads) {
    probabilities_gradient[i] = static_cast<float>(by * assigned[i % experts]);
  }
}

}  // namespace

void LoadBalance(const LoadBalanceShape& shape, const float* probabilities, const int32_t* chosen,
                 double scale, double* loss, float* probabilities_gradient, Stream stream) {
  if (shape.sequences == 0 || shape.length == 0) return;
  const Launch launch("load_balance");
  LoadBalanceKernel<<<shape.sequences, kThreads, 0, stream>>>(shape, probabilities, chosen, scale, loss,
                                                              probabilities_gradient);
  launch.Check();
}

}  // namespace ballast::kernels
