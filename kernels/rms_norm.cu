// RMSNorm (Zhang and Sennrich, arXiv 1910.07467): y = w x / sqrt(mean(x^2) + epsilon).
//
// A block per row; the gradient of the weight is a sum over rows, taken over chunks of rows first and over
// the chunks then, in order: no atomics, and the chunks follow from the number of rows alone.
#include "kernels/check.h"
#include "kernels/device.cuh"
#include "kernels/rms_norm.h"

namespace ballast::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kChunksMax = 64;

// Rows of one chunk of the weight's gradient.
int64_t ChunkRows(int64_t rows) { return std::max<int64_t>((rows + kChunksMax - 1) / kChunksMax, 1); }
int64_t Chunks(int64_t rows) { return (rows + ChunkRows(rows) - 1) / ChunkRows(rows); }

template <class T>
__global__ void ForwardKernel(int64_t columns, const T* __restrict__ x, const T* __restrict__ weight,
                              double epsilon, T* __restrict__ out, double* __restrict__ inverse_rms) {
  const int64_t row = blockIdx.x;
  x += row * columns;
  out += row * columns;
  float squares = 0;
  for (int64_t j = threadIdx.x; j < columns; j += kThreads) {
    const float value = ToFloat(x[j]);
    squares += value * value;
  }
  squares = BlockSum<kThreads>(squares);
  const double inverse = 1.0 / sqrt(static_cast<double>(squares) / static_cast<double>(columns) + epsilon);
  if (threadIdx.x == 0) inverse_rms[row] = inverse;
  const float by = static_cast<float>(inverse);
  for (int64_t j = threadIdx.x; j < columns; j += kThreads) {
    out[j] = FromFloat<T>(ToFloat(x[j]) * by * ToFloat(weight[j]));
  }
}

// With r = 1 / rms and n columns: dx = r (w dy) - x r^3 / n * sum(w dy x).
template <class T>
__global__ void InputGradientKernel(int64_t columns, const T* __restrict__ x, const T* __restrict__ weight,
                                    const double* __restrict__ inverse_rms,
                                    const T* __restrict__ out_gradient, T* __restrict__ x_gradient) {
  const int64_t row = blockIdx.x;
  x += row * columns;
  out_gradient += row * columns;
  x_gradient += row * columns;
  float dot = 0;
  for (int64_t j = threadIdx.x; j < columns; j += kThreads) {
    dot += ToFloat(weight[j]) * ToFloat(out_gradient[j]) * ToFloat(x[j]);
  }
  dot = BlockSum<kThreads>(dot);
  const double inverse = inverse_rms[row];
  const float by = static_cast<float>(inverse);
  const float pull = static_cast<float>(dot * (inverse * inverse * inverse) / static_cast<double>(columns));
  for (int64_t j = threadIdx.x; j < columns; j += kThreads) {
    const float own = by * (ToFloat(weight[j]) * ToFloat(out_gradient[j])) - ToFloat(x[j]) * pull;
    x_gradient[j] = FromFloat<T>(ToFloat(x_gradient[j]) + own);
  }
}

// partial[chunk][j] = sum over the chunk's rows of dy x r.
template <class T>
__global__ void WeightPartialKernel(int64_t rows, int64_t columns, int64_t chunk_rows,
                                    const T* __restrict__ x, const double* __restrict__ inverse_rms,
                                    const T* __restrict__ out_gradient, float* __restrict__ partial) {
  const int64_t j = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (j >= columns) return;
  const int64_t first = static_cast<int64_t>(blockIdx.y) * chunk_rows;
  const int64_t end = min(first + chunk_rows, rows);
  float sum = 0;
  for (int64_t i = first; i < end; ++i) {
    sum += ToFloat(out_gradient[i * columns + j]) *
           (ToFloat(x[i * columns + j]) * static_cast<float>(inverse_rms[i]));
  }
  partial[blockIdx.y * columns + j] = sum;
}

template <class T>
__global__ void WeightTotalKernel(int64_t chunks, int64_t columns, const float* __restrict__ partial,
                                  T* __restrict__ weight_gradient) {
  const int64_t j = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (j >= columns) return;
  float sum = 0;
  for (int64_t c = 0; c < chunks; ++c) sum += partial[c * columns + j];
  weight_gradient[j] = FromFloat<T>(ToFloat(weight_gradient[j]) + sum);
}

}  // namespace

template <class T>
void RmsNormForward(int64_t rows, int64_t columns, const T* x, const T* weight, double epsilon, T* out,
                    double* inverse_rms, Stream stream) {
  if (rows == 0) return;
  const Launch launch("rms_norm_forward");
  ForwardKernel<<<rows, kThreads, 0, stream>>>(columns, x, weight, epsilon, out, inverse_rms);
  launch.Check();
}

size_t RmsNormBackwardScratchBytes(int64_t rows, int64_t columns) {
  return static_cast<size_t>(Chunks(rows) * columns) * sizeof(float);
}

template <class T>
void RmsNormBackward(int64_t rows, int64_t columns, const T* x, const T* weight, const double* inverse_rms,
                     const T* out_gradient, T* x_gradient, T* weight_gradient, void* scratch, Stream stream) {
  if (rows == 0 || columns == 0) return;
  const Launch launch("rms_norm_backward");
  InputGradientKernel<<<rows, kThreads, 0, stream>>>(columns, x, weight, inverse_rms, out_gradient,
                                                     x_gradient);
  auto* partial = static_cast<float*>(scratch);
  const auto column_blocks = static_cast<unsigned>((columns + kThreads - 1) / kThreads);
  const dim3 grid(column_blocks, static_cast<unsigned>(Chunks(rows)));
  WeightPartialKernel<<<grid, kThreads, 0, stream>>>(rows, columns, ChunkRows(rows), x, inverse_rms,
                                                     out_gradient, partial);
  WeightTotalKernel<<<column_blocks, kThreads, 0, stream>>>(Chunks(rows), columns, partial, weight_gradient);
  launch.Check();
}

template void RmsNormForward(int64_t, int64_t, const float*, const float*, double, float*, double*, Stream);
template void RmsNormForward(int64_t, int64_t, const BFloat16*, const BFloat16*, double, BFloat16*, double*,
                             Stream);
template void RmsNormBackward(int64_t, int64_t, const float*, const float*, const double*, const float*,
                              float*, float*, void*, Stream);
template void RmsNormBackward(int64_t, int64_t, const BFloat16*, const BFloat16*, const double*,
                              const BFloat16*, BFloat16*, BFloat16*, void*, Stream);

}  // namespace ballast::kernels
