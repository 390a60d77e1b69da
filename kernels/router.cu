// Router (softmax, top k, renormalisation) as in Mixtral (Jiang et al., arXiv 2401.04088): a warp per row, in
// double, as a row has few experts.
#include "kernels/check.h"
#include "kernels/device.cuh"
#include "kernels/router.h"

namespace ballast::kernels {
namespace {

constexpr int kRowsPerBlock = 4;
constexpr int kThreads = kRowsPerBlock * kWarp;

struct Candidate {
  float logit;
  int expert;  // -1: none
};

// Higher logits first, then lower experts.
__device__ Candidate Better(Candidate x, Candidate y) {
  if (x.expert < 0) return y;
  if (y.expert < 0) return x;
  if (x.logit != y.logit) return x.logit > y.logit ? x : y;
  return x.expert < y.expert ? x : y;
}

// Shared memory: kRowsPerBlock rows of `experts` logits; a chosen one is marked by `taken`.
__global__ void ForwardKernel(const RouterShape shape, const float* __restrict__ logits,
                              float* __restrict__ probabilities, int32_t* __restrict__ chosen,
                              float* __restrict__ weights, double* __restrict__ log_sum_exp) {
  extern __shared__ float shared[];
  __shared__ unsigned taken_of[kRowsPerBlock][kRouterExpertsMax / kWarp];
  const int lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x / kWarp;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kRowsPerBlock + warp;
  if (row >= shape.rows) return;  // the whole warp
  float* row_logits = shared + warp * shape.experts;
  unsigned* taken = taken_of[warp];
  logits += row * shape.experts;
  probabilities += row * shape.experts;
  chosen += row * shape.top_k;
  weights += row * shape.top_k;

  float highest = -INFINITY;
  for (int e = lane; e < shape.experts; e += kWarp) {
    row_logits[e] = logits[e];
    highest = max(highest, row_logits[e]);
  }
  for (int w = lane; w < kRouterExpertsMax / kWarp; w += kWarp) taken[w] = 0;
  __syncwarp();
  highest = WarpMax(highest);
  double sum = 0;
  for (int e = lane; e < shape.experts; e += kWarp) sum += exp(static_cast<double>(row_logits[e]) - highest);
  sum = WarpSum(sum);
  if (lane == 0) log_sum_exp[row] = log(sum) + highest;
  for (int e = lane; e < shape.experts; e += kWarp) {
    probabilities[e] = static_cast<float>(exp(static_cast<double>(row_logits[e]) - highest) / sum);
  }

  double kept = 0;
  for (int k = 0; k < shape.top_k; ++k) {
    Candidate best{0, -1};
    for (int e = lane; e < shape.experts; e += kWarp) {
      if (taken[e / kWarp] >> (e % kWarp) & 1) continue;
      const float logit = row_logits[e];
      best = Better(best, {isnan(logit) ? -INFINITY : logit, e});
    }
    for (int offset = kWarp / 2; offset > 0; offset /= 2) {
      Candidate other;
      other.logit = __shfl_xor_sync(kAllLanes, best.logit, offset);
      other.expert = __shfl_xor_sync(kAllLanes, best.expert, offset);
      best = Better(best, other);
    }
    if (lane == 0) {
      chosen[k] = best.expert;
      taken[best.expert / kWarp] |= 1u << (best.expert % kWarp);
    }
    __syncwarp();
    kept += exp(static_cast<double>(row_logits[best.expert]) - highest);
  }
  for (int k = lane; k < shape.top_k; k += kWarp) {
    const double share = exp(static_cast<double>(row_logits[chosen[k]]) - highest);
    weights[k] = static_cast<float>(share / kept);
  }
}

// With s the sum of the chosen probabilities: weight_k = p_k / s, so dp_k = (dw_k - sum(dw w)) / s; then the
// softmax, dl_e = p_e (dp_e - sum(p dp)); and d(lse^2)/dl_e = 2 lse p_e. Shared memory: dp.
__global__ void BackwardKernel(const RouterShape shape, const float* __restrict__ probabilities,
                               const int32_t* __restrict__ chosen, const float* __restrict__ weights,
                               const double* __restrict__ log_sum_exp, double z_scale,
                               const float* __restrict__ weights_gradient,
                               const float* __restrict__ probabilities_gradient,
                               float* __restrict__ logits_gradient) {
  extern __shared__ float shared[];
  const int lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x / kWarp;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kRowsPerBlock + warp;
  if (row >= shape.rows) return;
  float* gradient = shared + warp * shape.experts;
  probabilities += row * shape.experts;
  probabilities_gradient += row * shape.experts;
  logits_gradient += row * shape.experts;
  chosen += row * shape.top_k;
  weights += row * shape.top_k;
  weights_gradient += row * shape.top_k;

  for (int e = lane; e < shape.experts; e += kWarp) gradient[e] = probabilities_gradient[e];
  double kept = 0;
  double mean = 0;
  for (int k = lane; k < shape.top_k; k += kWarp) {
    kept += probabilities[chosen[k]];
    mean += static_cast<double>(weights_gradient[k]) * weights[k];
  }
  kept = WarpSum(kept);
  mean = WarpSum(mean);
  __syncwarp();
  for (int k = lane; k < shape.top_k; k += kWarp) {
    gradient[chosen[k]] += static_cast<float>((weights_gradient[k] - mean) / kept);
  }
  __syncwarp();
  double dot = 0;
  for (int e = lane; e < shape.experts; e += kWarp) {
    dot += static_cast<double>(probabilities[e]) * gradient[e];
  }
  dot = WarpSum(dot);
  const double z = z_scale * 2 * log_sum_exp[row];
  for (int e = lane; e < shape.experts; e += kWarp) {
    logits_gradient[e] = static_cast<float>(probabilities[e] * (gradient[e] - dot + z));
  }
}

int64_t Blocks(const RouterShape& shape) { return (shape.rows + kRowsPerBlock - 1) / kRowsPerBlock; }
size_t SharedBytes(const RouterShape& shape) { return sizeof(float) * kRowsPerBlock * shape.experts; }

}  // namespace

void RouterForward(const RouterShape& shape, const float* logits, float* probabilities, int32_t* chosen,
                   float* weights, double* log_sum_exp, Stream stream) {
  if (shape.rows == 0) return;
  const Launch launch("router_forward");
  ForwardKernel<<<Blocks(shape), kThreads, SharedBytes(shape), stream>>>(shape, logits, probabilities, chosen,
                                                                         weights, log_sum_exp);
  launch.Check();
}

void RouterBackward(const RouterShape& shape, const float* probabilities, const int32_t* chosen,
                    const float* weights, const double* log_sum_exp, double z_scale,
                    const RouterGradients& gradients, Stream stream) {
  if (shape.rows == 0) return;
  const Launch launch("router_backward");
  BackwardKernel<<<Blocks(shape), kThreads, SharedBytes(shape), stream>>>(
      shape, probabilities, chosen, weights, log_sum_exp, z_scale, gradients.weights, gradients.probabilities,
      gradients.logits);
  launch.Check();
}

}  // namespace ballast::kernels
