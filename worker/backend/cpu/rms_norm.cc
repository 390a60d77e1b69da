// RMSNorm (Zhang and Sennrich, arXiv 1910.07467): y = w x / sqrt(mean(x^2) + epsilon).
#include <cmath>

#include "worker/backend/cpu/kernels.h"

namespace ballast::cpu {

template <class T>
void RmsNormForward(Rows<const T> x, const T* weight, double epsilon, Rows<T> out, double* inverse_rms) {
  for (int64_t i = 0; i < x.rows; ++i) {
    const T* row = x[i];
    double squares = 0;
    for (int64_t j = 0; j < x.columns; ++j) squares += static_cast<double>(row[j]) * row[j];
    const T inverse = static_cast<T>(1.0 / std::sqrt(squares / static_cast<double>(x.columns) + epsilon));
    inverse_rms[i] = static_cast<double>(inverse);
    T* to = out[i];
    for (int64_t j = 0; j < x.columns; ++j) to[j] = row[j] * inverse * weight[j];
  }
}

// With r = 1 / rms and n columns: dx = r (w dy) - x r^3 / n * sum(w dy x); dw = sum over rows of dy x r.
template <class T>
void RmsNormBackward(Rows<const T> x, const T* weight, const double* inverse_rms, Rows<const T> out_gradient,
                     Rows<T> x_gradient, T* weight_gradient) {
  for (int64_t i = 0; i < x.rows; ++i) {
    const T* row = x[i];
    const T* dy = out_gradient[i];
    const T inverse = static_cast<T>(inverse_rms[i]);
    double dot = 0;
    for (int64_t j = 0; j < x.columns; ++j) dot += static_cast<double>(weight[j] * dy[j]) * row[j];
    const double cube = static_cast<double>(inverse) * inverse * inverse;
    const T pull = static_cast<T>(dot * cube / static_cast<double>(x.columns));
    T* dx = x_gradient[i];
    for (int64_t j = 0; j < x.columns; ++j) dx[j] += inverse * (weight[j] * dy[j]) - row[j] * pull;
    for (int64_t j = 0; j < x.columns; ++j) weight_gradient[j] += dy[j] * (row[j] * inverse);
  }
}

template void RmsNormForward(Rows<const float>, const float*, double, Rows<float>, double*);
template void RmsNormForward(Rows<const double>, const double*, double, Rows<double>, double*);
template void RmsNormBackward(Rows<const float>, const float*, const double*, Rows<const float>, Rows<float>,
                              float*);
template void RmsNormBackward(Rows<const double>, const double*, const double*, Rows<const double>,
                              Rows<double>, double*);

}  // namespace ballast::cpu
