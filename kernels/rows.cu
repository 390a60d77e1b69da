// Moving rows by index: one read and one write per byte, bound by memory. A block has one row; it moves the
// widest units that the row's length and the addresses allow.
#include "kernels/check.h"
#include "kernels/device.cuh"
#include "kernels/rows.h"

namespace ballast::kernels {
namespace {

constexpr int kThreads = 128;

template <class Unit, bool kScatter>
__global__ void MoveKernel(int64_t units, const Unit* __restrict__ in, const int64_t* __restrict__ index,
                           Unit* __restrict__ out) {
  const int64_t row = blockIdx.x;
  const int64_t other = index[row];
  in += (kScatter ? row : other) * units;
  out += (kScatter ? other : row) * units;
  for (int64_t j = threadIdx.x; j < units; j += kThreads) out[j] = in[j];
}

template <class Unit, bool kScatter>
void MoveUnits(int64_t rows, int64_t row_bytes, const void* in, const int64_t* index, void* out,
               Stream stream) {
  MoveKernel<Unit, kScatter><<<rows, kThreads, 0, stream>>>(row_bytes / static_cast<int64_t>(sizeof(Unit)),
                                                            static_cast<const Unit*>(in), index,
                                                            static_cast<Unit*>(out));
}

template <bool kScatter>
void Move(const char* name, int64_t rows, int64_t row_bytes, const void* in, const int64_t* index, void* out,
          Stream stream) {
  if (rows == 0 || row_bytes == 0) return;
  const Launch launch(name);
  const auto low_bits =
      static_cast<uint64_t>(row_bytes) | reinterpret_cast<uintptr_t>(in) | reinterpret_cast<uintptr_t>(out);
  if (low_bits % sizeof(uint4) == 0) {
    MoveUnits<uint4, kScatter>(rows, row_bytes, in, index, out, stream);
  } else if (low_bits % sizeof(uint32_t) == 0) {
    MoveUnits<uint32_t, kScatter>(rows, row_bytes, in, index, out, stream);
  } else {
    MoveUnits<uint16_t, kScatter>(rows, row_bytes, in, index, out, stream);
  }
  launch.Check();
}

template <class T>
__global__ void SumKernel(int64_t columns, int top_k, const T* __restrict__ rows,
                          const int64_t* __restrict__ row_of, T* __restrict__ out) {
  const int64_t token = blockIdx.x;
  row_of += token * top_k;
  out += token * columns;
  for (int64_t j = threadIdx.x; j < columns; j += kThreads) {
    float sum = ToFloat(out[j]);
    for (int k = 0; k < top_k; ++k) sum += ToFloat(rows[row_of[k] * columns + j]);
    out[j] = FromFloat<T>(sum);
  }
}

}  // namespace

void GatherRows(int64_t rows, int64_t row_bytes, const void* in, const int64_t* index, void* out,
                Stream stream) {
  Move<false>("gather_rows", rows, row_bytes, in, index, out, stream);
}

void ScatterRows(int64_t rows, int64_t row_bytes, const void* in, const int64_t* index, void* out,
                 Stream stream) {
  Move<true>("scatter_rows", rows, row_bytes, in, index, out, stream);
}

template <class T>
void SumRows(int64_t tokens, int64_t columns, int top_k, const T* rows, const int64_t* row_of, T* out,
             Stream stream) {
  if (tokens == 0 || columns == 0) return;
  const Launch launch("sum_rows");
  SumKernel<<<tokens, kThreads, 0, stream>>>(columns, top_k, rows, row_of, out);
  launch.Check();
}

template void SumRows(int64_t, int64_t, int, const float*, const int64_t*, float*, Stream);
template void SumRows(int64_t, int64_t, int, const BFloat16*, const int64_t*, BFloat16*, Stream);

}  // namespace ballast::kernels
