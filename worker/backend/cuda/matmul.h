// Matrix products of the CUDA backend: cuBLASLt.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/types.h"
#include "plan/job_config.h"
#include "worker/backend/cuda/cuda_memory.h"

namespace ballast {

// c [m, n] = op(a) op(b) (+ c if accumulate), row-major and dense: a is [m, k], or [k, m] when it is
// transposed; b is [k, n], or [n, k].
struct MatmulShape {
  DType dtype = DType::kFloat32;      // of a and b: float32 or bfloat16; products and sums are float32
  DType out_dtype = DType::kFloat32;  // of c: `dtype`, or float32
  bool transpose_a = false;
  bool transpose_b = false;
  bool accumulate = false;
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  friend auto operator<=>(const MatmulShape&, const MatmulShape&) = default;
};

// Chooses an algorithm by the shape alone, never by the addresses, so that a product has the same bits
// wherever its matrices lie; matrices that lie less aligned than a dense one of their shape are copied. Keeps
// the choice for each of the last shapes. Of one stream: one product at a time. Methods throw DeviceError.
class MatmulRunner {
 public:
  // Uses the current device; `memory` must outlive it.
  explicit MatmulRunner(CudaMemory& memory);
  ~MatmulRunner();

  // Any size may be 0.
  void Run(const MatmulShape& shape, const void* a, const void* b, void* c, kernels::Stream stream);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ballast
