// Attention forward: softmax kept up while the keys pass by in tiles (Milakov and Gimelshein, arXiv
// 1805.02867; Dao et al., arXiv 2205.14135). A block has 32 queries of one head; products in float,
// on the plain cores.
#include "kernels/attention_paths.h"
#include "kernels/attention_plain_tile.cuh"
#include "kernels/check.h"

namespace ballast::kernels::plain {
namespace {

template <class T, int kColumns>
__global__ void __launch_bounds__(kTileThreads)
    ForwardKernel(const AttentionSizes sizes, float scale, const T* __restrict__ q, const T* __restrict__ k,
                  const T* __restrict__ v, T* __restrict__ out, float* __restrict__ log_sum_exp) {
  extern __shared__ float shared[];
  const Tile<kColumns> queries{shared}, keys{shared + Tile<kColumns>::kFloats},
      values{shared + 2 * Tile<kColumns>::kFloats};
  float* weights = shared + 3 * Tile<kColumns>::kFloats;

  const TileOfHead at(blockIdx.x, sizes.heads, sizes.length);
  const int d = sizes.head_size;
  const int64_t width = static_cast<int64_t>(sizes.heads) * d;
  const int64_t shared_width = static_cast<int64_t>(sizes.key_value_heads) * d;
  const int source = at.head / (sizes.heads / sizes.key_value_heads);
  q += at.sequence * sizes.length * width + at.head * d;
  out += at.sequence * sizes.length * width + at.head * d;
  k += at.sequence * sizes.length * shared_width + source * d;
  v += at.sequence * sizes.length * shared_width + source * d;

  const int row = threadIdx.x / kQuarters;
  const int quarter = threadIdx.x % kQuarters;
  const int64_t query = at.first + row;
  queries.Load(q, width, at.first, sizes.length, d);

  float own[kColumns / kQuarters] = {};
  float highest = -INFINITY;
  float sum = 0;
  for (int64_t first = 0; first <= at.first; first += kTile) {
    __syncthreads();  // the tiles before are read
    keys.Load(k, shared_width, first, sizes.length, d);
    values.Load(v, shared_width, first, sizes.length, d);
    __syncthreads();
    float scores[kTile / kQuarters];
    Dots<kColumns>(queries[row], keys, quarter, d, scores);
    float tile_highest = -INFINITY;
#pragma unroll
    for (int n = 0; n < kTile / kQuarters; ++n) {
      const int64_t key = first + quarter + n * kQuarters;
      scores[n] = key <= query ? scores[n] * scale : -INFINITY;
      tile_highest = max(tile_highest, scores[n]);
    }
    // Every query sees key 0 in the first tile, so the maximum is that of at least one score from then on.
    const float risen = max(highest, RowMax(tile_highest));
    const float shrink = expf(highest - risen);
    float tile_sum = 0;
#pragma unroll
    for (int n = 0; n < kTile / kQuarters; ++n) {
      const float weight = expf(scores[n] - risen);
      weights[row * kScoreStride + quarter + n * kQuarters] = weight;
      tile_sum += weight;
    }
    sum = sum * shrink + RowSum(tile_sum);
    highest = risen;
#pragma unroll
    for (int n = 0; n < kColumns / kQuarters; ++n) own[n] *= shrink;
    __syncwarp();  // a row's weights are written and read by one warp
    for (int j = 0; j < kTile; ++j) {
      const float weight = weights[row * kScoreStride + j];
      const float* value = values[j];
#pragma unroll
      for (int n = 0; n < kColumns / kQuarters; ++n) own[n] += weight * value[quarter + n * kQuarters];
    }
    __syncwarp();
  }
  if (query >= sizes.length) return;
  StoreOwn<kColumns>(own, 1 / sum, quarter, d, out + query * width);
  if (quarter == 0) {
    log_sum_exp[(at.sequence * sizes.heads + at.head) * sizes.length + query] = highest + logf(sum);
  }
}

}  // namespace

template <class T>
void AttentionForward(const AttentionSizes& sizes, const T* q, const T* k, const T* v, T* out,
                      float* log_sum_exp, Stream stream) {
  ForHeadSize(sizes.head_size, [&]<int kColumns>() {
    const int bytes = static_cast<int>(sizeof(float)) * (3 * Tile<kColumns>::kFloats + kTile * kScoreStride);
    const auto kernel = ForwardKernel<T, kColumns>;
    BALLAST_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
    kernel<<<TileBlocks(sizes, sizes.heads), kTileThreads, bytes, stream>>>(sizes, SoftmaxScale(sizes), q, k,
                                                                            v, out, log_sum_exp);
  });
}

template void AttentionForward(const AttentionSizes&, const float*, const float*, const float*, float*,
                               float*, Stream);
template void AttentionForward(const AttentionSizes&, const BFloat16*, const BFloat16*, const BFloat16*,
                               BFloat16*, float*, Stream);

}  // namespace ballast::kernels::plain
