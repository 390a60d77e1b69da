// Attention forward on tensor cores: softmax kept up while the keys pass by in tiles (Milakov and Gimelshein,
// arXiv 1805.02867; Dao, arXiv 2307.08691). A block has 64 queries of one head.
#include "kernels/attention_tensor_tile.cuh"
#include "kernels/check.h"

namespace ballast::kernels::tensor {
namespace {

constexpr int kKeyTiles = kRows / 8;

// The softmax of a warp's 16 rows so far; two rows of each thread.
struct Softmax {
  float highest[2] = {-INFINITY, -INFINITY};  // in units of log 2
  float sum[2] = {0, 0};                      // of this thread's columns

  // Turns scores of keys first_key.. into weights; returns by what sums so far shrink.
  __device__ void Weigh(float scale_log2, int64_t first_query, int64_t first_key, Sums (&scores)[kKeyTiles],
                        float (&shrink)[2]) {
    const int lane = threadIdx.x % kWarp;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t query = first_query + lane / 4 + half * 8;
      float tile_highest = -INFINITY;
#pragma unroll
      for (int n = 0; n < kKeyTiles; ++n) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float& score = scores[n].v[half * 2 + i];
          if (first_key + n * 8 + lane % 4 * 2 + i > query) score = -INFINITY;
          tile_highest = max(tile_highest, score);
        }
      }
      tile_highest = max(tile_highest, __shfl_xor_sync(kAllLanes, tile_highest, 1));
      tile_highest = max(tile_highest, __shfl_xor_sync(kAllLanes, tile_highest, 2));
      // Every query sees key 0 in the first tile, so the maximum is that of at least one score from then on.
      const float risen = max(highest[half], tile_highest * scale_log2);
      shrink[half] = exp2f(highest[half] - risen);
      highest[half] = risen;
      float tile_sum = 0;
#pragma unroll
      for (int n = 0; n < kKeyTiles; ++n) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float& score = scores[n].v[half * 2 + i];
          score = exp2f(score * scale_log2 - risen);
          tile_sum += score;
        }
      }
      sum[half] = sum[half] * shrink[half] + tile_sum;
    }
  }
  __device__ float RowSum(int half) const {
    const float pair = sum[half] + __shfl_xor_sync(kAllLanes, sum[half], 1);
    return pair + __shfl_xor_sync(kAllLanes, pair, 2);
  }
};

template <int kColumns>
__global__ void __launch_bounds__(kThreads)
    ForwardKernel(const AttentionSizes sizes, float scale, bool vectors, const BFloat16* __restrict__ q,
                  const BFloat16* __restrict__ k, const BFloat16* __restrict__ v, BFloat16* __restrict__ out,
                  float* __restrict__ log_sum_exp) {
  extern __shared__ __align__(16) __nv_bfloat16 shared[];
  using Rows = Tile<kRows, kColumns>;
  const Rows queries{shared}, keys{shared + Rows::kElements}, values{shared + 2 * Rows::kElements};

  const RowsOfHead at(sizes, sizes.heads, /*heavy_last=*/true);
  const int d = sizes.head_size;
  const int64_t width = static_cast<int64_t>(sizes.heads) * d;
  const int64_t shared_width = static_cast<int64_t>(sizes.key_value_heads) * d;
  const int source = at.head / (sizes.heads / sizes.key_value_heads);
  q += at.sequence * sizes.length * width + at.head * d;
  out += at.sequence * sizes.length * width + at.head * d;
  k += at.sequence * sizes.length * shared_width + source * d;
  v += at.sequence * sizes.length * shared_width + source * d;

  queries.Load(q, width, at.first, sizes.length, d, vectors);
  keys.Load(k, shared_width, 0, sizes.length, d, vectors);
  CommitLoads();
  values.Load(v, shared_width, 0, sizes.length, d, vectors);
  CommitLoads();

  const int warp_row = threadIdx.x / kWarp * kRowsOfWarp;
  Sums sums[kColumns / 8] = {};
  Softmax softmax;
  for (int64_t first = 0; first <= at.first; first += kRows) {
    WaitForLoads<1>();
    __syncthreads();
    Sums scores[kKeyTiles];
    Dots<kKeyTiles, kColumns>(queries, warp_row, keys, scores);
    __syncthreads();  // the keys are read
    if (first < at.first) keys.Load(k, shared_width, first + kRows, sizes.length, d, vectors);
    CommitLoads();
    float shrink[2];
    softmax.Weigh(scale * kLog2E, at.first + warp_row, first, scores, shrink);
#pragma unroll
    for (Sums& column : sums) {
      for (int i = 0; i < 4; ++i) column.v[i] *= shrink[i / 2];
    }
    WaitForLoads<1>();
    __syncthreads();
    Weighted<kKeyTiles, kColumns>(scores, values, sums);
    __syncthreads();  // the values are read
    if (first < at.first) values.Load(v, shared_width, first + kRows, sizes.length, d, vectors);
    CommitLoads();
  }

  const float row_sum[2] = {softmax.RowSum(0), softmax.RowSum(1)};
  Store<kColumns>(sums, {1 / row_sum[0], 1 / row_sum[1]}, out, width, at.first + warp_row, sizes.length, d,
                  vectors);
  const int lane = threadIdx.x % kWarp;
  for (int half = 0; half < 2; ++half) {
    const int64_t query = at.first + warp_row + lane / 4 + half * 8;
    if (lane % 4 == 0 && query < sizes.length) {
      log_sum_exp[(at.sequence * sizes.heads + at.head) * sizes.length + query] =
          softmax.highest[half] * kLn2 + logf(row_sum[half]);
    }
  }
}

}  // namespace

void AttentionForward(const AttentionSizes& sizes, const BFloat16* q, const BFloat16* k, const BFloat16* v,
                      BFloat16* out, float* log_sum_exp, Stream stream) {
  ForHeadSize(sizes.head_size, [&]<int kColumns>() {
    const int bytes = static_cast<int>(sizeof(BFloat16)) * 3 * Tile<kRows, kColumns>::kElements;
    const auto kernel = ForwardKernel<kColumns>;
    BALLAST_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
    kernel<<<Blocks(sizes, sizes.heads), kThreads, bytes, stream>>>(
        sizes, SoftmaxScale(sizes), WholeVectors(sizes, q, k, v, out), q, k, v, out, log_sum_exp);
  });
}

}  // namespace ballast::kernels::tensor
