// Cross-entropy of a softmax, and its gradient, in one pass over the logits.
#include <algorithm>
#include <cmath>

#include "worker/backend/cpu/kernels.h"

namespace ballast::cpu {

template <class T>
void CrossEntropy(Rows<const T> logits, const int32_t* targets, double scale, double* row_loss,
                  Rows<T> logits_gradient) {
  for (int64_t i = 0; i < logits.rows; ++i) {
    const T* row = logits[i];
    T* gradient = logits_gradient[i];  // may be `row` itself
    const T highest = *std::max_element(row, row + logits.columns);
    const double target_logit = row[targets[i]];
    double sum = 0;
    for (int64_t j = 0; j < logits.columns; ++j) {
      gradient[j] = std::exp(row[j] - highest);
      sum += gradient[j];
    }
    row_loss[i] = std::log(sum) + static_cast<double>(highest) - target_logit;
    const T by = static_cast<T>(scale / sum);
    for (int64_t j = 0; j < logits.columns; ++j) gradient[j] *= by;
    gradient[targets[i]] -= static_cast<T>(scale);
  }
}

template void CrossEntropy(Rows<const float>, const int32_t*, double, double*, Rows<float>);
template void CrossEntropy(Rows<const double>, const int32_t*, double, double*, Rows<double>);

}  // namespace ballast::cpu
