#include "worker/backend/cpu/kernels.h"

namespace ballast::cpu {

void MeanSquares(const double* values, int64_t runs, int64_t length, double* out) {
  for (int64_t r = 0; r < runs; ++r) {
    double squares = 0;
    for (int64_t i = r * length; i < (r + 1) * length; ++i) squares += values[i] * values[i];
    out[r] = length > 0 ? squares / static_cast<double>(length) : 0;
  }
}

}  // namespace ballast::cpu
