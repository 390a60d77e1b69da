// Combine: the weighted sum of the rows that came back for a token, in k order.
#include "worker/backend/cpu/kernels.h"

namespace ballast::cpu {

template <class T>
void CombineForward(Rows<const T> rows, const int64_t* row_of, Rows<const T> weights, Rows<T> out) {
  const int64_t top_k = weights.columns;
  for (int64_t t = 0; t < out.rows; ++t) {
    T* to = out[t];
    for (int64_t k = 0; k < top_k; ++k) {
      const T* from = rows[row_of[t * top_k + k]];
      const T weight = weights[t][k];
      if (k == 0) {
        for (int64_t j = 0; j < out.columns; ++j) to[j] = weight * from[j];
      } else {
        for (int64_t j = 0; j < out.columns; ++j) to[j] += weight * from[j];
      }
    }
  }
}

template <class T>
void CombineBackward(Rows<const T> rows, const int64_t* row_of, Rows<const T> weights,
                     Rows<const T> out_gradient, Rows<T> rows_gradient, Rows<T> weights_gradient) {
  const int64_t top_k = weights.columns;
  for (int64_t t = 0; t < out_gradient.rows; ++t) {
    const T* gradient = out_gradient[t];
    for (int64_t k = 0; k < top_k; ++k) {
      const int64_t row = row_of[t * top_k + k];
      const T* from = rows[row];
      const T weight = weights[t][k];
      T* to = rows_gradient[row];
      double dot = 0;
      for (int64_t j = 0; j < out_gradient.columns; ++j) dot += static_cast<double>(gradient[j]) * from[j];
      for (int64_t j = 0; j < out_gradient.columns; ++j) to[j] = weight * gradient[j];
      weights_gradient[t][k] = static_cast<T>(dot);
    }
  }
}

template void CombineForward(Rows<const float>, const int64_t*, Rows<const float>, Rows<float>);
template void CombineForward(Rows<const double>, const int64_t*, Rows<const double>, Rows<double>);
template void CombineBackward(Rows<const float>, const int64_t*, Rows<const float>, Rows<const float>,
                              Rows<float>, Rows<float>);
template void CombineBackward(Rows<const double>, const int64_t*, Rows<const double>, Rows<const double>,
                              Rows<double>, Rows<double>);

}  // namespace ballast::cpu
