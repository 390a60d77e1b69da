// Attention backward on tensor cores: probabilities are worked out again from the kept log-sum-exp (Dao,
// arXiv 2307.08691), once by a block per 64 queries (dq) and once by a block per 64 keys (dk, dv). Each block
// owns what it writes, so no atomic orders a sum, and the heads of a group add up in head order.
//
// With p = exp(s - lse), dp = dout v^T, delta = <dout, out>: ds = p (dp - delta); dv = p^T dout,
// dq = ds k * scale, dk = ds^T q * scale.
#include "kernels/attention_tensor_tile.cuh"
#include "kernels/check.h"

namespace ballast::kernels::tensor {
namespace {

// Columns and offsets of a head in [sequences * length, heads * head_size].
struct HeadRows {
  int64_t stride;
  int64_t begin;
  __device__ HeadRows(const AttentionSizes& sizes, int heads, int64_t sequence, int head)
      : stride(static_cast<int64_t>(heads) * sizes.head_size),
        begin(sequence * sizes.length * stride + static_cast<int64_t>(head) * sizes.head_size) {}
};

// p, in place of the score, and ds, in place of dp.
__device__ inline void ProbabilityAndGradient(bool seen, float scale_log2, float lse_log2, float delta,
                                              float& score, float& pull) {
  score = seen ? exp2f(score * scale_log2 - lse_log2) : 0;
  pull = seen ? score * (pull - delta) : 0;
}

template <int kColumns>
__global__ void __launch_bounds__(kThreads)
    QueryGradientKernel(const AttentionSizes sizes, float scale, bool vectors,
                        const AttentionInputs<BFloat16> in, const float* __restrict__ delta,
                        BFloat16* __restrict__ q_gradient) {
  extern __shared__ __align__(16) __nv_bfloat16 shared[];
  using Rows = Tile<kRows, kColumns>;
  constexpr int kTiles = kRows / 8;
  const Rows queries{shared}, gradients{shared + Rows::kElements};
  auto keys = [&](int stage) { return Rows{shared + (2 + 2 * stage) * Rows::kElements}; };
  auto values = [&](int stage) { return Rows{shared + (3 + 2 * stage) * Rows::kElements}; };

  const RowsOfHead at(sizes, sizes.heads, /*heavy_last=*/true);
  const int d = sizes.head_size;
  const HeadRows own(sizes, sizes.heads, at.sequence, at.head);
  const HeadRows source(sizes, sizes.key_value_heads, at.sequence,
                        at.head / (sizes.heads / sizes.key_value_heads));
  auto load = [&](int64_t first, int stage) {
    keys(stage).Load(in.k + source.begin, source.stride, first, sizes.length, d, vectors);
    values(stage).Load(in.v + source.begin, source.stride, first, sizes.length, d, vectors);
    CommitLoads();
  };
  queries.Load(in.q + own.begin, own.stride, at.first, sizes.length, d, vectors);
  gradients.Load(in.out_gradient + own.begin, own.stride, at.first, sizes.length, d, vectors);
  load(0, 0);

  const int lane = threadIdx.x % kWarp;
  const int warp_row = threadIdx.x / kWarp * kRowsOfWarp;
  float lse[2], mean[2];
  for (int half = 0; half < 2; ++half) {
    const int64_t query = at.first + warp_row + lane / 4 + half * 8;
    const int64_t of_head = (at.sequence * sizes.heads + at.head) * sizes.length;
    lse[half] = query < sizes.length ? in.log_sum_exp[of_head + query] * kLog2E : 0;
    mean[half] = query < sizes.length ? delta[of_head + query] : 0;
  }
  Sums sums[kColumns / 8] = {};
  int stage = 0;
  for (int64_t first = 0; first <= at.first; first += kRows, stage ^= 1) {
    if (first < at.first) {
      load(first + kRows, stage ^ 1);
    } else {
      CommitLoads();
    }
    WaitForLoads<1>();
    __syncthreads();
    Sums scores[kTiles], pulls[kTiles];
    Dots<kTiles, kColumns>(queries, warp_row, keys(stage), scores);
    Dots<kTiles, kColumns>(gradients, warp_row, values(stage), pulls);
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int64_t query = at.first + warp_row + lane / 4 + i / 2 * 8;
        const int64_t key = first + n * 8 + lane % 4 * 2 + i % 2;
        ProbabilityAndGradient(key <= query && query < sizes.length, scale * kLog2E, lse[i / 2], mean[i / 2],
                               scores[n].v[i], pulls[n].v[i]);
      }
    }
    Weighted<kTiles, kColumns>(pulls, keys(stage), sums);
    __syncthreads();  // this stage is read
  }
  Store<kColumns>(sums, {scale, scale}, q_gradient + own.begin, own.stride, at.first + warp_row, sizes.length,
                  d, vectors);
}

// Queries that pass by at a time: fewer for wide heads, whose sums fill the registers.
template <int kColumns>
constexpr int kPassing = kColumns <= 64 ? 64 : 32;

template <int kColumns>
constexpr int kKeyValueElements =
    2 * Tile<kRows, kColumns>::kElements + 4 * Tile<kPassing<kColumns>, kColumns>::kElements;

template <int kColumns>
__global__ void __launch_bounds__(kThreads)
    KeyValueGradientKernel(const AttentionSizes sizes, float scale, bool vectors,
                           const AttentionInputs<BFloat16> in, const float* __restrict__ delta,
                           BFloat16* __restrict__ k_gradient, BFloat16* __restrict__ v_gradient) {
  extern __shared__ __align__(16) __nv_bfloat16 shared[];
  constexpr int kQueries = kPassing<kColumns>;
  constexpr int kTiles = kQueries / 8;
  using Rows = Tile<kRows, kColumns>;
  using Passing = Tile<kQueries, kColumns>;
  const Rows keys{shared}, values{shared + Rows::kElements};
  __nv_bfloat16* stages = shared + 2 * Rows::kElements;
  auto queries = [&](int stage) { return Passing{stages + 2 * stage * Passing::kElements}; };
  auto gradients = [&](int stage) { return Passing{stages + (2 * stage + 1) * Passing::kElements}; };
  // [stage][query]: log-sum-exp in units of log 2, infinite beyond the sequence; delta.
  __shared__ float lse[2][kQueries], mean[2][kQueries];

  const RowsOfHead at(sizes, sizes.key_value_heads, /*heavy_last=*/false);
  const int d = sizes.head_size;
  const int group = sizes.heads / sizes.key_value_heads;
  const HeadRows own(sizes, sizes.key_value_heads, at.sequence, at.head);
  // Passes are numbered [head of the group][tile of queries from the first key on].
  const int64_t tiles = (sizes.length - at.first + kQueries - 1) / kQueries;
  auto load = [&](int64_t pass, int stage) {
    const int head = at.head * group + static_cast<int>(pass / tiles);
    const int64_t first = at.first + pass % tiles * kQueries;
    const HeadRows rows(sizes, sizes.heads, at.sequence, head);
    queries(stage).Load(in.q + rows.begin, rows.stride, first, sizes.length, d, vectors);
    gradients(stage).Load(in.out_gradient + rows.begin, rows.stride, first, sizes.length, d, vectors);
    CommitLoads();
    const int64_t of_head = (at.sequence * sizes.heads + head) * sizes.length;
    for (int i = threadIdx.x; i < kQueries; i += kThreads) {
      const bool inside = first + i < sizes.length;
      lse[stage][i] = inside ? in.log_sum_exp[of_head + first + i] * kLog2E : INFINITY;
      mean[stage][i] = inside ? delta[of_head + first + i] : 0;
    }
  };
  keys.Load(in.k + own.begin, own.stride, at.first, sizes.length, d, vectors);
  values.Load(in.v + own.begin, own.stride, at.first, sizes.length, d, vectors);
  load(0, 0);

  const int lane = threadIdx.x % kWarp;
  const int warp_row = threadIdx.x / kWarp * kRowsOfWarp;
  Sums of_keys[kColumns / 8] = {}, of_values[kColumns / 8] = {};
  int stage = 0;
  for (int64_t pass = 0; pass < group * tiles; ++pass, stage ^= 1) {
    if (pass + 1 < group * tiles) {
      load(pass + 1, stage ^ 1);
    } else {
      CommitLoads();
    }
    WaitForLoads<1>();
    __syncthreads();
    // Rows are keys and columns queries.
    Sums scores[kTiles], pulls[kTiles];
    Dots<kTiles, kColumns>(keys, warp_row, queries(stage), scores);
    Dots<kTiles, kColumns>(values, warp_row, gradients(stage), pulls);
    const int64_t first = at.first + pass % tiles * kQueries;
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int64_t key = at.first + warp_row + lane / 4 + i / 2 * 8;
        const int column = n * 8 + lane % 4 * 2 + i % 2;
        ProbabilityAndGradient(key <= first + column, scale * kLog2E, lse[stage][column], mean[stage][column],
                               scores[n].v[i], pulls[n].v[i]);
      }
    }
    Weighted<kTiles, kColumns>(scores, gradients(stage), of_values);
    Weighted<kTiles, kColumns>(pulls, queries(stage), of_keys);
    __syncthreads();  // this stage is read
  }
  Store<kColumns>(of_keys, {scale, scale}, k_gradient + own.begin, own.stride, at.first + warp_row,
                  sizes.length, d, vectors);
  Store<kColumns>(of_values, {1, 1}, v_gradient + own.begin, own.stride, at.first + warp_row, sizes.length, d,
                  vectors);
}

}  // namespace

void AttentionBackward(const AttentionSizes& sizes, const AttentionInputs<BFloat16>& in, const float* delta,
                       BFloat16* q_gradient, BFloat16* k_gradient, BFloat16* v_gradient, Stream stream) {
  const bool vectors =
      WholeVectors(sizes, in.q, in.k, in.v, in.out_gradient, q_gradient, k_gradient, v_gradient);
  ForHeadSize(sizes.head_size, [&]<int kColumns>() {
    const int query_bytes = static_cast<int>(sizeof(BFloat16)) * 6 * Tile<kRows, kColumns>::kElements;
    const int key_bytes = static_cast<int>(sizeof(BFloat16)) * kKeyValueElements<kColumns>;
    const auto of_queries = QueryGradientKernel<kColumns>;
    const auto of_keys = KeyValueGradientKernel<kColumns>;
    BALLAST_CUDA_CHECK(
        cudaFuncSetAttribute(of_queries, cudaFuncAttributeMaxDynamicSharedMemorySize, query_bytes));
    BALLAST_CUDA_CHECK(cudaFuncSetAttribute(of_keys, cudaFuncAttributeMaxDynamicSharedMemorySize, key_bytes));
    of_queries<<<Blocks(sizes, sizes.heads), kThreads, query_bytes, stream>>>(sizes, SoftmaxScale(sizes),
                                                                              vectors, in, delta, q_gradient);
    of_keys<<<Blocks(sizes, sizes.key_value_heads), kThreads, key_bytes, stream>>>(
        sizes, SoftmaxScale(sizes), vectors, in, delta, k_gradient, v_gradient);
  });
}

}  // namespace ballast::kernels::tensor
