// Matrix products of the CUDA backend: cuBLASLt, and one launch for the many small products of a batch.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

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
// wherever its matrices lie; matrices that lie less aligned than a dense one of their shape are copied. The
// number of rows that a product goes over, which changes from step to step, counts in steps of an eighth of
// its size, so that a choice is soon made once for all. Of one stream: one call at a time. Methods throw
// DeviceError.
class MatmulRunner {
 public:
  struct Product {
    MatmulShape shape;  // any size may be 0
    const void* a = nullptr;
    const void* b = nullptr;
    void* c = nullptr;
  };

  // Uses the current device; `memory` must outlive it.
  explicit MatmulRunner(CudaMemory& memory);
  ~MatmulRunner();

  void Run(const Product& product, kernels::Stream stream);
  // Independent products between what is before and behind them on `stream`: small ones in one launch
  // (kernels/grouped_gemm.h), the others on several streams. A product has the same bits in every batch; by
  // itself (Run) it may have others.
  void RunBatch(std::span<const Product> products, kernels::Stream stream);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ballast
