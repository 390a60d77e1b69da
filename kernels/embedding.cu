// Token embedding. The gradient adds the rows of one id in the order in which they stand: the block of an
// id's first row looks for the later ones and adds them up, so no sum depends on who came first.
#include "kernels/check.h"
#include "kernels/device.cuh"
#include "kernels/embedding.h"

namespace ballast::kernels {
namespace {

constexpr int kThreads = 128;

template <class Unit>
__global__ void ForwardKernel(int64_t units, const int32_t* __restrict__ ids, const Unit* __restrict__ table,
                              Unit* __restrict__ out) {
  const int64_t row = blockIdx.x;
  table += ids[row] * units;
  out += row * units;
  for (int64_t j = threadIdx.x; j < units; j += kThreads) out[j] = table[j];
}

// first[id] = lowest row of that id; a minimum is the same in whatever order it is taken.
__global__ void FirstRowKernel(int64_t rows, const int32_t* __restrict__ ids, int* __restrict__ first) {
  for (int64_t i = GridIndex(); i < rows; i += GridThreads()) atomicMin(first + ids[i], static_cast<int>(i));
}

// Grid (rows, tiles of columns).
template <class T>
__global__ void BackwardKernel(int64_t rows, int64_t columns, const int32_t* __restrict__ ids,
                               const int* __restrict__ first, const T* __restrict__ out_gradient,
                               T* __restrict__ table_gradient) {
  const int64_t row = blockIdx.x;
  const int32_t id = ids[row];
  if (first[id] != row) return;  // the whole block
  const int64_t j = static_cast<int64_t>(blockIdx.y) * kThreads + threadIdx.x;
  const bool mine = j < columns;
  float sum = mine ? ToFloat(table_gradient[id * columns + j]) : 0;
  __shared__ unsigned same[kThreads / kWarp];
  for (int64_t begin = row; begin < rows; begin += kThreads) {
    const int64_t i = begin + threadIdx.x;
    const unsigned of_warp = __ballot_sync(kAllLanes, i < rows && ids[i] == id);
    __syncthreads();  // the round before is read
    if (threadIdx.x % kWarp == 0) same[threadIdx.x / kWarp] = of_warp;
    __syncthreads();
    for (int w = 0; w < kThreads / kWarp; ++w) {
      for (unsigned left = same[w]; left != 0; left &= left - 1) {
        const int64_t from = begin + w * kWarp + __ffs(left) - 1;
        if (mine) sum += ToFloat(out_gradient[from * columns + j]);
      }
    }
  }
  if (mine) table_gradient[id * columns + j] = FromFloat<T>(sum);
}

}  // namespace

void EmbeddingForward(int64_t rows, int64_t row_bytes, const int32_t* ids, const void* table, void* out,
                      Stream stream) {
  if (rows == 0 || row_bytes == 0) return;
  const Launch launch("embedding_forward");
  const auto low_bits = static_cast<uint64_t>(row_bytes) | reinterpret_cast<uintptr_t>(table) |
                        reinterpret_cast<uintptr_t>(out);
  if (low_bits % sizeof(uint4) == 0) {
    ForwardKernel<<<rows, kThreads, 0, stream>>>(row_bytes / static_cast<int64_t>(sizeof(uint4)), ids,
                                                 static_cast<const uint4*>(table), static_cast<uint4*>(out));
  } else {
    ForwardKernel<<<rows, kThreads, 0, stream>>>(row_bytes / static_cast<int64_t>(sizeof(uint16_t)), ids,
                                                 static_cast<const uint16_t*>(table),
                                                 static_cast<uint16_t*>(out));
  }
  launch.Check();
}

size_t EmbeddingBackwardScratchBytes(int64_t vocabulary) {
  return static_cast<size_t>(vocabulary) * sizeof(int);
}

template <class T>
void EmbeddingBackward(int64_t rows, int64_t columns, int64_t vocabulary, const int32_t* ids,
                       const T* out_gradient, T* table_gradient, void* scratch, Stream stream) {
  if (rows == 0 || columns == 0) return;
  const Launch launch("embedding_backward");
  auto* first = static_cast<int*>(scratch);
  // 0x7f7f7f7f is above every row number.
  BALLAST_CUDA_CHECK(cudaMemsetAsync(first, 0x7f, EmbeddingBackwardScratchBytes(vocabulary), stream));
  FirstRowKernel<<<GridBlocks(rows, kThreads), kThreads, 0, stream>>>(rows, ids, first);
  const dim3 grid(static_cast<unsigned>(rows), static_cast<unsigned>((columns + kThreads - 1) / kThreads));
  BackwardKernel<<<grid, kThreads, 0, stream>>>(rows, columns, ids, first, out_gradient, table_gradient);
  launch.Check();
}

template void EmbeddingBackward(int64_t, int64_t, int64_t, const int32_t*, const float*, float*, void*,
                                Stream);
template void EmbeddingBackward(int64_t, int64_t, int64_t, const int32_t*, const BFloat16*, BFloat16*, void*,
                                Stream);

}  // namespace ballast::kernels
