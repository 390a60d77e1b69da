// Attention backward: probabilities are worked out again from the kept log-sum-exp (Dao et al., arXiv
// 2205.14135), once by a block per tile of queries (dq) and once by a block per tile of keys (dk, dv). Each
// block owns what it writes, and the heads of a group add up in head order. Products in float, on the plain
// cores.
//
// With p = exp(s - lse), dp = dout v^T, delta = <dout, out>: ds = p (dp - delta); dv = p^T dout,
// dq = ds k * scale, dk = ds^T q * scale.
#include "kernels/attention_paths.h"
#include "kernels/attention_plain_tile.cuh"
#include "kernels/check.h"

namespace ballast::kernels::plain {
namespace {

// What both kernels work on, in shared memory.
template <int kColumns>
struct Tiles {
  Tile<kColumns> queries, keys, values, gradients;
  float* probabilities;     // [query][key], stride kScoreStride
  float* scores_gradients;  // the same

  static constexpr int kFloats = 4 * Tile<kColumns>::kFloats + 2 * kTile * kScoreStride;
  __device__ explicit Tiles(float* shared)
      : queries{shared},
        keys{shared + Tile<kColumns>::kFloats},
        values{shared + 2 * Tile<kColumns>::kFloats},
        gradients{shared + 3 * Tile<kColumns>::kFloats},
        probabilities(shared + 4 * Tile<kColumns>::kFloats),
        scores_gradients(probabilities + kTile * kScoreStride) {}

  // Fills probabilities and scores_gradients; a thread fills its quarter of its row. `log_sum_exp` and
  // `delta` are those of the head.
  __device__ void Scores(const AttentionSizes& sizes, float scale, int64_t first_query, int64_t first_key,
                         const float* __restrict__ log_sum_exp, const float* __restrict__ delta) {
    const int row = threadIdx.x / kQuarters;
    const int quarter = threadIdx.x % kQuarters;
    const int64_t query = first_query + row;
    float scores[kTile / kQuarters], pulls[kTile / kQuarters];
    Dots<kColumns>(queries[row], keys, quarter, sizes.head_size, scores);
    Dots<kColumns>(gradients[row], values, quarter, sizes.head_size, pulls);
    const bool inside = query < sizes.length;
    const float lse = inside ? log_sum_exp[query] : 0;
    const float mean = inside ? delta[query] : 0;
#pragma unroll
    for (int n = 0; n < kTile / kQuarters; ++n) {
      const int column = quarter + n * kQuarters;
      const bool seen = inside && first_key + column <= query;
      const float p = seen ? expf(scores[n] * scale - lse) : 0;
      probabilities[row * kScoreStride + column] = p;
      scores_gradients[row * kScoreStride + column] = seen ? p * (pulls[n] - mean) : 0;
    }
  }
};

template <class T, int kColumns>
__global__ void __launch_bounds__(kTileThreads)
    QueryGradientKernel(const AttentionSizes sizes, float scale, const AttentionInputs<T> in,
                        const float* __restrict__ delta, T* __restrict__ q_gradient) {
  extern __shared__ float shared[];
  Tiles<kColumns> tiles(shared);
  const TileOfHead at(blockIdx.x, sizes.heads, sizes.length);
  const int d = sizes.head_size;
  const int64_t width = static_cast<int64_t>(sizes.heads) * d;
  const int64_t shared_width = static_cast<int64_t>(sizes.key_value_heads) * d;
  const int source = at.head / (sizes.heads / sizes.key_value_heads);
  const int64_t begin = at.sequence * sizes.length * width + at.head * d;
  const int64_t shared_begin = at.sequence * sizes.length * shared_width + source * d;
  const int64_t head_begin = (at.sequence * sizes.heads + at.head) * sizes.length;
  tiles.queries.Load(in.q + begin, width, at.first, sizes.length, d);
  tiles.gradients.Load(in.out_gradient + begin, width, at.first, sizes.length, d);

  const int row = threadIdx.x / kQuarters;
  const int quarter = threadIdx.x % kQuarters;
  float own[kColumns / kQuarters] = {};
  for (int64_t first = 0; first <= at.first; first += kTile) {
    __syncthreads();
    tiles.keys.Load(in.k + shared_begin, shared_width, first, sizes.length, d);
    tiles.values.Load(in.v + shared_begin, shared_width, first, sizes.length, d);
    __syncthreads();
    tiles.Scores(sizes, scale, at.first, first, in.log_sum_exp + head_begin, delta + head_begin);
    __syncthreads();
    for (int j = 0; j < kTile; ++j) {
      const float ds = tiles.scores_gradients[row * kScoreStride + j];
      const float* key = tiles.keys[j];
#pragma unroll
      for (int n = 0; n < kColumns / kQuarters; ++n) own[n] += ds * key[quarter + n * kQuarters];
    }
  }
  const int64_t query = at.first + row;
  if (query < sizes.length) {
    StoreOwn<kColumns>(own, scale, quarter, d, q_gradient + begin + query * width);
  }
}

template <class T, int kColumns>
__global__ void __launch_bounds__(kTileThreads)
    KeyValueGradientKernel(const AttentionSizes sizes, float scale, const AttentionInputs<T> in,
                           const float* __restrict__ delta, T* __restrict__ k_gradient,
                           T* __restrict__ v_gradient) {
  extern __shared__ float shared[];
  Tiles<kColumns> tiles(shared);
  const TileOfHead at(blockIdx.x, sizes.key_value_heads, sizes.length);
  const int d = sizes.head_size;
  const int64_t width = static_cast<int64_t>(sizes.heads) * d;
  const int64_t shared_width = static_cast<int64_t>(sizes.key_value_heads) * d;
  const int64_t shared_begin = at.sequence * sizes.length * shared_width + at.head * d;
  tiles.keys.Load(in.k + shared_begin, shared_width, at.first, sizes.length, d);
  tiles.values.Load(in.v + shared_begin, shared_width, at.first, sizes.length, d);

  const int row = threadIdx.x / kQuarters;
  const int quarter = threadIdx.x % kQuarters;
  const int group = sizes.heads / sizes.key_value_heads;
  float own_k[kColumns / kQuarters] = {}, own_v[kColumns / kQuarters] = {};
  for (int head = at.head * group; head < (at.head + 1) * group; ++head) {
    const int64_t begin = at.sequence * sizes.length * width + head * d;
    const int64_t head_begin = (at.sequence * sizes.heads + head) * sizes.length;
    for (int64_t first = at.first; first < sizes.length; first += kTile) {
      __syncthreads();
      tiles.queries.Load(in.q + begin, width, first, sizes.length, d);
      tiles.gradients.Load(in.out_gradient + begin, width, first, sizes.length, d);
      __syncthreads();
      tiles.Scores(sizes, scale, first, at.first, in.log_sum_exp + head_begin, delta + head_begin);
      __syncthreads();
      for (int i = 0; i < kTile; ++i) {
        const float p = tiles.probabilities[i * kScoreStride + row];
        const float ds = tiles.scores_gradients[i * kScoreStride + row];
        const float* gradient = tiles.gradients[i];
        const float* query = tiles.queries[i];
#pragma unroll
        for (int n = 0; n < kColumns / kQuarters; ++n) {
          own_v[n] += p * gradient[quarter + n * kQuarters];
          own_k[n] += ds * query[quarter + n * kQuarters];
        }
      }
    }
  }
  const int64_t key = at.first + row;
  if (key >= sizes.length) return;
  StoreOwn<kColumns>(own_k, scale, quarter, d, k_gradient + shared_begin + key * shared_width);
  StoreOwn<kColumns>(own_v, 1, quarter, d, v_gradient + shared_begin + key * shared_width);
}

}  // namespace

template <class T>
void AttentionBackward(const AttentionSizes& sizes, const AttentionInputs<T>& in, const float* delta,
                       T* q_gradient, T* k_gradient, T* v_gradient, Stream stream) {
  ForHeadSize(sizes.head_size, [&]<int kColumns>() {
    const int bytes = static_cast<int>(sizeof(float)) * Tiles<kColumns>::kFloats;
    const auto of_queries = QueryGradientKernel<T, kColumns>;
    const auto of_keys = KeyValueGradientKernel<T, kColumns>;
    BALLAST_CUDA_CHECK(cudaFuncSetAttribute(of_queries, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
    BALLAST_CUDA_CHECK(cudaFuncSetAttribute(of_keys, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
    of_queries<<<TileBlocks(sizes, sizes.heads), kTileThreads, bytes, stream>>>(sizes, SoftmaxScale(sizes),
                                                                                in, delta, q_gradient);
    of_keys<<<TileBlocks(sizes, sizes.key_value_heads), kTileThreads, bytes, stream>>>(
        sizes, SoftmaxScale(sizes), in, delta, k_gradient, v_gradient);
  });
}

template void AttentionBackward(const AttentionSizes&, const AttentionInputs<float>&, const float*, float*,
                                float*, float*, Stream);
template void AttentionBackward(const AttentionSizes&, const AttentionInputs<BFloat16>&, const float*,
                                BFloat16*, BFloat16*, BFloat16*, Stream);

}  // namespace ballast::kernels::plain
