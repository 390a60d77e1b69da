// What the attention kernels on tensor cores share: tiles of bfloat16 rows in shared memory.
//
// A block has 4 warps; each owns 16 rows of the block's 64 and all columns of what they are multiplied with,
// so no sum leaves a warp.
//
// Probabilities and their gradients are float. They enter a product as two bfloat16 each, the rounded value
// and the rounded rest, which together are exact to 2^-18: nothing is rounded to one bfloat16 that is not
// stored.
#pragma once

#include "kernels/attention_paths.h"
#include "kernels/tensor_core.cuh"

namespace ballast::kernels::tensor {

constexpr int kWarps = 4;
constexpr int kThreads = kWarps * kWarp;
constexpr int kRowsOfWarp = 16;
constexpr int kRows = kWarps * kRowsOfWarp;  // rows of a block
constexpr float kLog2E = 1.44269504088896340736f;
constexpr float kLn2 = 0.69314718055994530942f;

// `kHeight` rows of a head in shared memory, kColumns wide, zeros beyond the head and the sequence. Rows are
// 16 bytes apart modulo 128, so that 8 rows at one column lie in different banks.
template <int kHeight, int kColumns>
struct Tile {
  static constexpr int kStride = kColumns + 8;
  static constexpr int kElements = kHeight * kStride;
  __nv_bfloat16* data;

  // Starts the copy of the rows first..first + kHeight. `vectors`: rows and the head are whole 16-byte
  // vectors.
  __device__ void Load(const __nv_bfloat16* from, int64_t row_stride, int64_t first, int64_t length,
                       int head_size, bool vectors) const {
    constexpr int kPerRow = kColumns / 8;
    for (int n = threadIdx.x; n < kHeight * kPerRow; n += kThreads) {
      const int row = n / kPerRow;
      const int column = n % kPerRow * 8;
      __nv_bfloat16* to = data + row * kStride + column;
      const __nv_bfloat16* source = from + (first + row) * row_stride + column;
      const int here = first + row < length ? min(max(head_size - column, 0), 8) : 0;
      if (vectors) {
        CopyVector(to, here > 0 ? source : from, here * 2);
      } else {
        for (int i = 0; i < 8; ++i) to[i] = i < here ? source[i] : __nv_bfloat16(0.0f);
      }
    }
  }

  // Rows row..row + 16, columns column..column + 16, as a left operand.
  __device__ Left AsLeft(int row, int column) const {
    const int lane = threadIdx.x % kWarp;
    Left a;
    LoadMatrices(data + (row + lane % 16) * kStride + column + lane / 16 * 8, a.r[0], a.r[1], a.r[2], a.r[3]);
    return a;
  }
  // The transpose of rows row..row + 16 and columns column..column + 16 as two right operands: for rows row..
  // and row + 8...
  __device__ void AsRightTransposed(int row, int column, Right (&b)[2]) const {
    const int lane = threadIdx.x % kWarp;
    LoadMatrices(data + (row + lane % 8 + lane / 16 * 8) * kStride + column + lane / 8 % 2 * 8, b[0].r[0],
                 b[0].r[1], b[1].r[0], b[1].r[1]);
  }
  // Rows row..row + 16 and columns column..column + 16 as two right operands: for columns column.. and column
  // + 8...
  __device__ void AsRight(int row, int column, Right (&b)[2]) const {
    const int lane = threadIdx.x % kWarp;
    LoadTransposedMatrices(data + (row + lane % 16) * kStride + column + lane / 16 * 8, b[0].r[0], b[0].r[1],
                           b[1].r[0], b[1].r[1]);
  }
};

// sums[n] += (16 rows of `left` from `row`) (rows 8n.. of `right`)^T, for kTiles * 8 rows of `right`.
template <int kTiles, int kColumns, class LeftTile, class RightTile>
__device__ inline void Dots(const LeftTile& left, int row, const RightTile& right, Sums (&sums)[kTiles]) {
  static_assert(kTiles % 2 == 0);
#pragma unroll
  for (int n = 0; n < kTiles; ++n) sums[n] = {};
#pragma unroll
  for (int column = 0; column < kColumns; column += 16) {
    const Left a = left.AsLeft(row, column);
#pragma unroll
    for (int n = 0; n < kTiles; n += 2) {
      Right b[2];
      right.AsRightTransposed(n * 8, column, b);
      MultiplyAdd(a, b[0], sums[n]);
      MultiplyAdd(a, b[1], sums[n + 1]);
    }
  }
}

// Two neighbouring 16 x 8 tiles of floats as a 16 x 16 left operand: the rounded values and the rounded
// rests.
__device__ inline void Split(const Sums& first, const Sums& second, Left& rounded, Left& rest) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const Sums& from = i < 2 ? first : second;
    const float x = from.v[i % 2 * 2], y = from.v[i % 2 * 2 + 1];
    const __nv_bfloat16 x_rounded = __float2bfloat16_rn(x), y_rounded = __float2bfloat16_rn(y);
    rounded.r[i] = Packed(x_rounded, y_rounded);
    rest.r[i] = Packed(__float2bfloat16_rn(x - __bfloat162float(x_rounded)),
                       __float2bfloat16_rn(y - __bfloat162float(y_rounded)));
  }
}

// sums[n] += weights [16, kTiles * 8] times rows 0..kTiles * 8 of `right`, columns 8n....
template <int kTiles, int kColumns, class RightTile>
__device__ inline void Weighted(const Sums (&weights)[kTiles], const RightTile& right,
                                Sums (&sums)[kColumns / 8]) {
#pragma unroll
  for (int k = 0; k < kTiles; k += 2) {
    Left rounded, rest;
    Split(weights[k], weights[k + 1], rounded, rest);
#pragma unroll
    for (int n = 0; n < kColumns / 8; n += 2) {
      Right b[2];
      right.AsRight(k * 8, n * 8, b);
      MultiplyAdd(rounded, b[0], sums[n]);
      MultiplyAdd(rounded, b[1], sums[n + 1]);
      MultiplyAdd(rest, b[0], sums[n]);
      MultiplyAdd(rest, b[1], sums[n + 1]);
    }
  }
}

// A warp's 16 rows of sums times `factor` (that of row g, that of row g + 8) to rows first.. of `to`.
template <int kColumns>
__device__ inline void Store(const Sums (&sums)[kColumns / 8], const float (&factor)[2], __nv_bfloat16* to,
                             int64_t row_stride, int64_t first, int64_t length, int head_size, bool vectors) {
  const int lane = threadIdx.x % kWarp;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int64_t row = first + lane / 4 + half * 8;
    if (row >= length) continue;
#pragma unroll
    for (int n = 0; n < kColumns / 8; ++n) {
      const int column = n * 8 + lane % 4 * 2;
      __nv_bfloat16* at = to + row * row_stride + column;
      const __nv_bfloat16 x = __float2bfloat16_rn(sums[n].v[half * 2] * factor[half]);
      const __nv_bfloat16 y = __float2bfloat16_rn(sums[n].v[half * 2 + 1] * factor[half]);
      if (vectors && column < head_size) {
        *reinterpret_cast<uint32_t*>(at) = Packed(x, y);
      } else {
        if (column < head_size) at[0] = x;
        if (column + 1 < head_size) at[1] = y;
      }
    }
  }
}

// Which 64 rows of which head a block has. `heavy_last`: late rows have more to do than early ones; blocks
// with more to do come first.
struct RowsOfHead {
  int64_t sequence;
  int head;
  int64_t first;  // first row within the sequence

  __device__ RowsOfHead(const AttentionSizes& sizes, int heads, bool heavy_last) {
    const int64_t all_heads = sizes.sequences * heads;
    const int64_t tiles = (sizes.length + kRows - 1) / kRows;
    const int64_t tile = blockIdx.x / all_heads;
    first = (heavy_last ? tiles - 1 - tile : tile) * kRows;
    head = static_cast<int>(blockIdx.x % all_heads % heads);
    sequence = blockIdx.x % all_heads / heads;
  }
};

inline int64_t Blocks(const AttentionSizes& sizes, int heads) {
  return sizes.sequences * heads * ((sizes.length + kRows - 1) / kRows);
}

// Whether all rows begin at a multiple of 16 bytes and heads are whole vectors.
template <class... Pointers>
bool WholeVectors(const AttentionSizes& sizes, const Pointers*... pointers) {
  return sizes.head_size % 8 == 0 && ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
}

// Calls function.operator()<kColumns>() with the smallest compiled size that holds the head.
template <class Function>
void ForHeadSize(int head_size, const Function& function) {
  if (head_size <= 32) {
    function.template operator()<32>();
  } else if (head_size <= 64) {
    function.template operator()<64>();
  } else {
    function.template operator()<kHeadSizeMax>();
  }
}

}  // namespace ballast::kernels::tensor
