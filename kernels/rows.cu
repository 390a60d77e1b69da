// Moving rows by index: one read and one write per byte, bound by memory. A block has one row; it moves the
// widest units that the row's length and the addresses allow.
#include "kernels/check.h"
#include "kernels/device.cuh"
#include "kernels/rows.h"

namespace ballast::kernels {
namespace {

constexpr int kThreads = 128;

// Calls launch(unit), a value of the widest unit that rows of `row_bytes` at these addresses divide into.
template <class Launcher>
void WithUnits(int64_t row_bytes, const void* in, const void* out, const Launcher& launch) {
  const auto low_bits =
      static_cast<uint64_t>(row_bytes) | reinterpret_cast<uintptr_t>(in) | reinterpret_cast<uintptr_t>(out);
  if (low_bits % sizeof(uint4) == 0) {
    launch(uint4());
  } else if (low_bits % sizeof(uint32_t) == 0) {
    launch(uint32_t());
  } else {
    launch(uint16_t());
  }
}

template <class Unit>
__global__ void GatherKernel(int64_t units, const Unit* __restrict__ in, const int64_t* __restrict__ index,
                             Unit* __restrict__ out) {
  in += index[blockIdx.x] * units;
  out += static_cast<int64_t>(blockIdx.x) * units;
  for (int64_t j = threadIdx.x; j < units; j += kThreads) out[j] = in[j];
}

// A column of blocks per move, each with every so-many-th part of its units.
constexpr int kBlocksPerMove = 64;
template <class Unit>
__global__ void RunKernel(const kernels::Move* __restrict__ moves, int64_t units, const Unit* __restrict__ in,
                          Unit* __restrict__ out) {
  const kernels::Move move = moves[blockIdx.x];
  in += move.from * units;
  out += move.to * units;
  const int64_t all = move.rows * units;
  const int64_t stride = static_cast<int64_t>(gridDim.y) * kThreads;
  for (int64_t j = static_cast<int64_t>(blockIdx.y) * kThreads + threadIdx.x; j < all; j += 4 * stride) {
    Unit kept[4];
    for (int u = 0; u < 4; ++u) {
      if (j + u * stride < all) kept[u] = in[j + u * stride];
    }
    for (int u = 0; u < 4; ++u) {
      if (j + u * stride < all) out[j + u * stride] = kept[u];
    }
  }
}

template <class Unit>
void RunUnits(int64_t moves_count, const kernels::Move* moves, int64_t rows_max, int64_t row_bytes,
              const void* in, void* out, Stream stream) {
  const int64_t units = row_bytes / static_cast<int64_t>(sizeof(Unit));
  const int64_t wanted = (rows_max * units + 4 * kThreads - 1) / (4 * kThreads);
  const dim3 grid(static_cast<unsigned>(moves_count),
                  static_cast<unsigned>(std::clamp<int64_t>(wanted, 1, kBlocksPerMove)));
  RunKernel<<<grid, kThreads, 0, stream>>>(moves, units, static_cast<const Unit*>(in),
                                           static_cast<Unit*>(out));
}

template <class T, int kWidth, bool kAligned>
__global__ void SumKernel(int64_t columns, int top_k, const T* __restrict__ rows,
                          const int64_t* __restrict__ row_of, T* __restrict__ out) {
  const int64_t token = blockIdx.x;
  row_of += token * top_k;
  out += token * columns;
  for (int64_t j = threadIdx.x * kWidth; j < columns; j += kThreads * kWidth) {
    auto sum = LoadPack<T, kWidth, kAligned>(out + j);
    for (int k = 0; k < top_k; ++k) {
      const auto row = LoadPack<T, kWidth, kAligned>(rows + row_of[k] * columns + j);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) sum.v[i] += row.v[i];
    }
    StorePack<T, kWidth, kAligned>(sum, out + j);
  }
}

}  // namespace

void GatherRows(int64_t rows, int64_t row_bytes, const void* in, const int64_t* index, void* out,
                Stream stream) {
  if (rows == 0 || row_bytes == 0) return;
  const Launch launch("gather_rows");
  WithUnits(row_bytes, in, out, [&](auto unit) {
    using Unit = decltype(unit);
    GatherKernel<<<rows, kThreads, 0, stream>>>(row_bytes / static_cast<int64_t>(sizeof(Unit)),
                                                static_cast<const Unit*>(in), index, static_cast<Unit*>(out));
  });
  launch.Check();
}

void MoveRows(int64_t moves_count, const kernels::Move* moves, int64_t rows_max, int64_t row_bytes,
              const void* in, void* out, Stream stream) {
  if (moves_count == 0 || rows_max == 0 || row_bytes == 0) return;
  const Launch launch("move_rows");
  WithUnits(row_bytes, in, out, [&](auto unit) {
    RunUnits<decltype(unit)>(moves_count, moves, rows_max, row_bytes, in, out, stream);
  });
  launch.Check();
}

template <class T>
void SumRows(int64_t tokens, int64_t columns, int top_k, const T* rows, const int64_t* row_of, T* out,
             Stream stream) {
  if (tokens == 0 || columns == 0) return;
  const Launch launch("sum_rows");
  auto run = [&](auto width, auto aligned) {
    SumKernel<T, width(), aligned()><<<tokens, kThreads, 0, stream>>>(columns, top_k, rows, row_of, out);
  };
  WithPacks<T>(columns, run, rows, out);
  launch.Check();
}

template void SumRows(int64_t, int64_t, int, const float*, const int64_t*, float*, Stream);
template void SumRows(int64_t, int64_t, int, const BFloat16*, const int64_t*, BFloat16*, Stream);

}  // namespace ballast::kernels
