// Token embedding. The gradient adds the rows of one id in the order in which they stand: a stable sort by id
// brings them next to each other, and the block of an id's first row adds them up, so no sum depends on who
// came first.
#include <cub/device/device_radix_sort.cuh>

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

__global__ void NumberKernel(int64_t rows, int* __restrict__ numbers) {
  for (int64_t i = GridIndex(); i < rows; i += GridThreads()) numbers[i] = static_cast<int>(i);
}

// Grid (rows, tiles of columns): ids in their order, and whose row each is.
template <class T>
__global__ void BackwardKernel(int64_t rows, int64_t columns, const int32_t* __restrict__ ids,
                               const int* __restrict__ row_of, const T* __restrict__ out_gradient,
                               T* __restrict__ table_gradient) {
  const int64_t first = blockIdx.x;
  const int32_t id = ids[first];
  if (first > 0 && ids[first - 1] == id) return;  // the whole block
  const int64_t j = static_cast<int64_t>(blockIdx.y) * kThreads + threadIdx.x;
  const bool mine = j < columns;
  float sum = mine ? ToFloat(table_gradient[id * columns + j]) : 0;
  __shared__ int from[kThreads];
  int count = kThreads;
  for (int64_t begin = first; count == kThreads; begin += kThreads) {
    const int64_t i = begin + threadIdx.x;
    const bool same = i < rows && ids[i] == id;
    if (same) from[threadIdx.x] = row_of[i];
    count = __syncthreads_count(same);
    if (mine) {
#pragma unroll 8
      for (int k = 0; k < count; ++k) sum += ToFloat(out_gradient[from[k] * columns + j]);
    }
    __syncthreads();  // this round is read
  }
  if (mine) table_gradient[id * columns + j] = FromFloat<T>(sum);
}

// Scratch memory: ids in their order, the rows' numbers, the rows in the order of ids, and the sort's own.
int64_t Aligned(int64_t rows) { return (rows + 63) / 64 * 64; }

cudaError_t SortRows(void* temporary, size_t& bytes, int64_t rows, int64_t vocabulary, const int32_t* ids,
                     int* arrays, Stream stream) {
  int bits = 1;
  while (vocabulary > int64_t{1} << bits) ++bits;
  const int64_t stride = Aligned(rows);
  return cub::DeviceRadixSort::SortPairs(temporary, bytes, ids, arrays, arrays + stride, arrays + 2 * stride,
                                         static_cast<int>(rows), 0, bits, stream);
}

size_t SortBytes(int64_t rows, int64_t vocabulary) {
  size_t bytes = 0;
  BALLAST_CUDA_CHECK(SortRows(nullptr, bytes, rows, vocabulary, nullptr, nullptr, nullptr));
  return bytes;
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

size_t EmbeddingBackwardScratchBytes(int64_t rows, int64_t vocabulary) {
  return static_cast<size_t>(3 * Aligned(rows)) * sizeof(int) + SortBytes(rows, vocabulary);
}

template <class T>
void EmbeddingBackward(int64_t rows, int64_t columns, int64_t vocabulary, const int32_t* ids,
                       const T* out_gradient, T* table_gradient, void* scratch, Stream stream) {
  if (rows == 0 || columns == 0) return;
  const Launch launch("embedding_backward");
  int* arrays = static_cast<int*>(scratch);
  const int64_t stride = Aligned(rows);
  NumberKernel<<<GridBlocks(rows, kThreads), kThreads, 0, stream>>>(rows, arrays + stride);
  size_t sort = SortBytes(rows, vocabulary);
  BALLAST_CUDA_CHECK(SortRows(arrays + 3 * stride, sort, rows, vocabulary, ids, arrays, stream));
  const dim3 grid(static_cast<unsigned>(rows), static_cast<unsigned>((columns + kThreads - 1) / kThreads));
  BackwardKernel<<<grid, kThreads, 0, stream>>>(rows, columns, arrays, arrays + 2 * stride, out_gradient,
                                                table_gradient);
  launch.Check();
}

template void EmbeddingBackward(int64_t, int64_t, int64_t, const int32_t*, const float*, float*, void*,
                                Stream);
template void EmbeddingBackward(int64_t, int64_t, int64_t, const int32_t*, const BFloat16*, BFloat16*, void*,
                                Stream);

}  // namespace ballast::kernels
