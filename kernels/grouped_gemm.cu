// Grouped products on tensor cores: a block per 128 x 128 tile of some task's result, which it finds by its
// number. Tiles of both operands pass through shared memory in stages of 64 along the sum; eight warps have
// 64 x 32 each. A sum is taken in order by one thread, so its bits do not depend on how many tasks or rows
// there are.
#include "kernels/check.h"
#include "kernels/grouped_gemm.h"
#include "kernels/tensor_core.cuh"

namespace ballast::kernels {
namespace {

using tensor::Left;
using tensor::Right;
using tensor::Sums;

constexpr int kThreads = 256;
constexpr int kTileSide = 128;
constexpr int kWarpRows = 64, kWarpColumns = 32;
constexpr int kStep = 64;
constexpr int kStages = 3;
constexpr int kOperandElements = kTileSide * kStep;
constexpr int kSharedBytes = kStages * 2 * kOperandElements * static_cast<int>(sizeof(__nv_bfloat16));
// As many as a launch's arguments hold (4 KiB).
constexpr int kTasksMax = 96;

struct Tasks {
  struct Entry {
    GroupedTask task;
    int64_t first_tile;
  };
  Entry entries[kTasksMax];
  int count;
  int64_t n, k;
  bool vectors;  // all matrices begin at a multiple of 16 bytes
};

// A stage's part of an operand in shared memory: rows of kWidth values. The 16-byte vectors of a row are
// permuted by its number, so that eight rows at one column lie in different banks.
template <int kWidth>
struct Staged {
  __nv_bfloat16* data;

  __device__ __nv_bfloat16* At(int row, int column) const {
    return data + row * kWidth + ((column / 8) ^ (row % 8)) * 8;
  }
};

// What one thread copies of an operand, a matrix [rows, columns]: the same vectors of each stage. kAlongRows:
// the sum runs along the rows, and the next stage's are the next kStep of them; else along the columns.
template <int kWidth, bool kAlongRows>
class Copier {
 public:
  __device__ Copier(const __nv_bfloat16* matrix, int64_t rows, int64_t columns, int64_t first_row,
                    int64_t first_column)
      : row_(static_cast<int>(threadIdx.x) / kPerRow),
        column_(static_cast<int>(threadIdx.x) % kPerRow * 8),
        apart_(kRowsApart * columns),
        stage_apart_(kAlongRows ? kStep * columns : kStep),
        matrix_(matrix),
        at_(matrix + (first_row + row_) * columns + first_column + column_),
        rows_left_(static_cast<int>(min(rows - first_row - row_, int64_t{1} << 30))),
        columns_left_(static_cast<int>(min(columns - first_column - column_, int64_t{1} << 30))) {}

  // Starts the copy of the next stage; zeros beyond the matrix.
  __device__ void Next(const Staged<kWidth>& to, bool vectors) {
    __nv_bfloat16* target = to.At(row_, column_);
    const __nv_bfloat16* from = at_;
#pragma unroll
    for (int i = 0; i < kOperandElements / 8 / kThreads; ++i) {
      const bool inside = i * kRowsApart < rows_left_ && columns_left_ > 0;
      if (vectors) {
        tensor::CopyVector(target, inside ? from : matrix_, inside ? 16 : 0);
      } else {
        for (int j = 0; j < 8; ++j) target[j] = inside ? from[j] : __nv_bfloat16(0.0f);
      }
      target += kRowsApart * kWidth;
      from += apart_;
    }
    at_ += stage_apart_;
    (kAlongRows ? rows_left_ : columns_left_) -= kStep;
  }

 private:
  static constexpr int kPerRow = kWidth / 8;
  static constexpr int kRowsApart =
      kThreads / kPerRow;  // a multiple of 8: all its vectors are permuted alike
  static_assert(kRowsApart % 8 == 0);
  const int row_, column_;
  const int64_t apart_, stage_apart_;
  const __nv_bfloat16* const matrix_;
  const __nv_bfloat16* at_;
  int rows_left_, columns_left_;  // of the matrix, from this thread's first vector of the next stage on
};

// Operand b, by its kind.
template <GroupedKind kKind>
struct RightOperand {
  static constexpr bool kAlongRows = kKind == GroupedKind::kNN;
  static constexpr int kWidth = kAlongRows ? kTileSide : kStep;

  // 16 of the sum from `depth`, 16 columns of c from `column`, as two right operands.
  __device__ static void Load(const Staged<kWidth>& staged, int depth, int column, Right (&b)[2]) {
    const int lane = threadIdx.x % kWarp;
    if constexpr (kAlongRows) {
      tensor::LoadTransposedMatrices(staged.At(depth + lane % 16, column + lane / 16 * 8), b[0].r[0],
                                     b[0].r[1], b[1].r[0], b[1].r[1]);
    } else {
      tensor::LoadMatrices(staged.At(column + lane % 8 + lane / 16 * 8, depth + lane / 8 % 2 * 8), b[0].r[0],
                           b[0].r[1], b[1].r[0], b[1].r[1]);
    }
  }
};

// Adds a stage's part of a warp's sums, those of rows row.. and columns column.. of the tile.
template <GroupedKind kKind>
__device__ inline void Multiply(const Staged<kStep>& left, const Staged<RightOperand<kKind>::kWidth>& right,
                                int row, int column, Sums (&sums)[kWarpRows / 16][kWarpColumns / 8]) {
  const int lane = threadIdx.x % kWarp;
#pragma unroll
  for (int depth = 0; depth < kStep; depth += 16) {
    Left rows[kWarpRows / 16];
    Right columns[kWarpColumns / 16][2];
#pragma unroll
    for (int i = 0; i < kWarpRows / 16; ++i) {
      tensor::LoadMatrices(left.At(row + i * 16 + lane % 16, depth + lane / 16 * 8), rows[i].r[0],
                           rows[i].r[1], rows[i].r[2], rows[i].r[3]);
    }
#pragma unroll
    for (int j = 0; j < kWarpColumns / 16; ++j)
      RightOperand<kKind>::Load(right, depth, column + j * 16, columns[j]);
#pragma unroll
    for (int i = 0; i < kWarpRows / 16; ++i) {
#pragma unroll
      for (int j = 0; j < kWarpColumns / 8; ++j)
        tensor::MultiplyAdd(rows[i], columns[j / 2][j % 2], sums[i][j]);
    }
  }
}

// A warp's sums to rows row.. and columns column.. of c [rows, n]; n is even.
__device__ inline void Store(const Sums (&sums)[kWarpRows / 16][kWarpColumns / 8], __nv_bfloat16* c,
                             int64_t rows, int64_t n, int64_t row, int64_t column, bool vectors) {
  const int lane = threadIdx.x % kWarp;
#pragma unroll
  for (int i = 0; i < kWarpRows / 16; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t at_row = row + i * 16 + lane / 4 + half * 8;
      if (at_row >= rows) continue;
#pragma unroll
      for (int j = 0; j < kWarpColumns / 8; ++j) {
        const int64_t at_column = column + j * 8 + lane % 4 * 2;
        if (at_column >= n) continue;
        __nv_bfloat16* at = c + at_row * n + at_column;
        const __nv_bfloat16 x = __float2bfloat16_rn(sums[i][j].v[half * 2]);
        const __nv_bfloat16 y = __float2bfloat16_rn(sums[i][j].v[half * 2 + 1]);
        if (vectors) {
          *reinterpret_cast<uint32_t*>(at) = tensor::Packed(x, y);
        } else {
          at[0] = x;
          at[1] = y;
        }
      }
    }
  }
}

// Which entry a tile belongs to.
__device__ inline const Tasks::Entry& EntryOf(const Tasks& tasks, int64_t tile) {
  int low = 0, high = tasks.count - 1;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (tasks.entries[middle].first_tile <= tile) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return tasks.entries[low];
}

template <GroupedKind kKind>
__global__ void __launch_bounds__(kThreads, 2) GroupedKernel(const __grid_constant__ Tasks tasks) {
  using RightSide = RightOperand<kKind>;
  extern __shared__ __align__(128) __nv_bfloat16 shared[];
  const Tasks::Entry& entry = EntryOf(tasks, blockIdx.x);
  const int64_t rows = entry.task.rows, n = tasks.n, k = tasks.k;
  const int64_t across = (n + kTileSide - 1) / kTileSide;
  const int64_t tile = blockIdx.x - entry.first_tile;
  const int64_t row = tile / across * kTileSide, column = tile % across * kTileSide;
  const auto steps = static_cast<int>((k + kStep - 1) / kStep);

  Copier<kStep, false> left(entry.task.a, rows, k, row, 0);
  Copier<RightSide::kWidth, RightSide::kAlongRows> right(
      entry.task.b, RightSide::kAlongRows ? k : n, RightSide::kAlongRows ? n : k,
      RightSide::kAlongRows ? 0 : column, RightSide::kAlongRows ? column : 0);
  auto left_of = [&](int step) { return Staged<kStep>{shared + step % kStages * 2 * kOperandElements}; };
  auto right_of = [&](int step) {
    return Staged<RightSide::kWidth>{shared + (step % kStages * 2 + 1) * kOperandElements};
  };
  auto load = [&](int step) {
    if (step < steps) {
      left.Next(left_of(step), tasks.vectors);
      right.Next(right_of(step), tasks.vectors);
    }
    tensor::CommitLoads();
  };

  for (int step = 0; step < kStages - 1; ++step) load(step);
  constexpr int kWarpsAcross = kTileSide / kWarpColumns;
  const int warp = threadIdx.x / kWarp;
  const int warp_row = warp / kWarpsAcross * kWarpRows, warp_column = warp % kWarpsAcross * kWarpColumns;
  Sums sums[kWarpRows / 16][kWarpColumns / 8] = {};
  for (int step = 0; step < steps; ++step) {
    tensor::WaitForLoads<kStages - 2>();
    __syncthreads();  // this stage has come, and the one before is read
    load(step + kStages - 1);
    Multiply<kKind>(left_of(step), right_of(step), warp_row, warp_column, sums);
  }
  Store(sums, entry.task.c, rows, n, row + warp_row, column + warp_column, tasks.vectors);
}

template <GroupedKind kKind>
void Start(const Tasks& tasks, int64_t tiles, Stream stream) {
  const auto kernel = GroupedKernel<kKind>;
  BALLAST_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes));
  kernel<<<tiles, kThreads, kSharedBytes, stream>>>(tasks);
}

bool Aligned(const GroupedTask& task) {
  return (reinterpret_cast<uintptr_t>(task.a) | reinterpret_cast<uintptr_t>(task.b) |
          reinterpret_cast<uintptr_t>(task.c)) %
             16 ==
         0;
}

}  // namespace

void GroupedGemm(GroupedKind kind, int64_t n, int64_t k, std::span<const GroupedTask> tasks, Stream stream) {
  const Launch launch("grouped_gemm");
  const int64_t across = (n + kTileSide - 1) / kTileSide;
  size_t at = 0;
  while (at < tasks.size()) {
    Tasks some{};
    some.n = n;
    some.k = k;
    some.vectors = true;
    int64_t tiles = 0;
    for (; at < tasks.size() && some.count < kTasksMax; ++at) {
      const int64_t own = (tasks[at].rows + kTileSide - 1) / kTileSide * across;
      if (own == 0) continue;
      some.entries[some.count++] = {tasks[at], tiles};
      some.vectors = some.vectors && Aligned(tasks[at]);
      tiles += own;
    }
    if (tiles == 0) continue;
    if (kind == GroupedKind::kNT) {
      Start<GroupedKind::kNT>(some, tiles, stream);
    } else {
      Start<GroupedKind::kNN>(some, tiles, stream);
    }
  }
  launch.Check();
}

}  // namespace ballast::kernels
