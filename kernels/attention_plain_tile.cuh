// Tiles of the plain attention kernels: kTile queries or keys of one head in shared memory as float.
//
// A block has 4 threads per row of a tile. A thread of row r and quarter c owns the keys c, c + 4, ... of a
// row of scores and the columns c, c + 4, ... of a row of output, so a row's sums stay within one warp.
#pragma once

#include "kernels/attention_paths.h"
#include "kernels/device.cuh"

namespace ballast::kernels::plain {

constexpr int kTile = 32;
constexpr int kQuarters = 4;
constexpr int kTileThreads = kTile * kQuarters;
constexpr int kScoreStride = kTile + 1;  // one word more, so that a column's rows lie in different banks

// kColumns: the head size rounded up to what the kernel was compiled for.
template <int kColumns>
struct Tile {
  static constexpr int kStride = kColumns + 1;
  static constexpr int kFloats = kTile * kStride;
  static constexpr int kOwn = kColumns / kQuarters;  // columns of one thread
  float* data;

  __device__ const float* operator[](int row) const { return data + row * kStride; }

  // Rows first..first + kTile of `from`; rows at and beyond `length` and columns beyond the head are 0.
  template <class T>
  __device__ void Load(const T* from, int64_t row_stride, int64_t first, int64_t length,
                       int head_size) const {
    for (int n = threadIdx.x; n < kTile * kColumns; n += kTileThreads) {
      const int row = n / kColumns;
      const int column = n % kColumns;
      const bool inside = first + row < length && column < head_size;
      data[row * kStride + column] = inside ? ToFloat(from[(first + row) * row_stride + column]) : 0.0f;
    }
  }
};

// One thread's dots of `row` with the rows of `other` that it owns.
template <int kColumns>
__device__ inline void Dots(const float* row, const Tile<kColumns>& other, int quarter, int head_size,
                            float (&dots)[kTile / kQuarters]) {
  for (int n = 0; n < kTile / kQuarters; ++n) dots[n] = 0;
  for (int d = 0; d < head_size; ++d) {
    const float value = row[d];
#pragma unroll
    for (int n = 0; n < kTile / kQuarters; ++n) dots[n] += value * other[quarter + n * kQuarters][d];
  }
}

// A thread's columns of one row, to memory.
template <int kColumns, class T>
__device__ inline void StoreOwn(const float (&own)[kColumns / kQuarters], float factor, int quarter,
                                int head_size, T* to) {
#pragma unroll
  for (int n = 0; n < kColumns / kQuarters; ++n) {
    const int d = quarter + n * kQuarters;
    if (d < head_size) to[d] = FromFloat<T>(own[n] * factor);
  }
}

// Sum and maximum over the 4 threads of a row.
__device__ inline float RowSum(float value) {
  value += __shfl_xor_sync(kAllLanes, value, 1);
  return value + __shfl_xor_sync(kAllLanes, value, 2);
}
__device__ inline float RowMax(float value) {
  value = max(value, __shfl_xor_sync(kAllLanes, value, 1));
  return max(value, __shfl_xor_sync(kAllLanes, value, 2));
}

// Which tile of which head a block has; blocks are numbered [sequence][head][tile].
struct TileOfHead {
  int64_t sequence;
  int head;
  int64_t first;  // first row of the tile within the sequence

  __device__ TileOfHead(int64_t block, int heads, int64_t length) {
    const int64_t tiles = (length + kTile - 1) / kTile;
    first = block % tiles * kTile;
    head = static_cast<int>(block / tiles % heads);
    sequence = block / tiles / heads;
  }
};

inline int64_t TileBlocks(const AttentionSizes& sizes, int heads) {
  return sizes.sequences * heads * ((sizes.length + kTile - 1) / kTile);
}

// Calls function.operator()<kColumns>() with the smallest compiled size that holds the head.
template <class Function>
void ForHeadSize(int head_size, const Function& function) {
  if (head_size <= 32) {
    function.template operator()<32>();
  } else if (head_size <= 64) {
    function.template operator()<64>();
  } else if (head_size <= 128) {
    function.template operator()<128>();
  } else {
    function.template operator()<kAttentionHeadSizeMax>();
  }
}

}  // namespace ballast::kernels::plain
