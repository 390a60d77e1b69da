// Addition, scaling and the sum of squares.
#include "worker/backend/cpu/kernels.h"

namespace ballast::cpu {

template <class T>
void Add(int64_t elements, const T* x, T* y) {
  for (int64_t i = 0; i < elements; ++i) y[i] += x[i];
}

template <class T>
void Scale(int64_t elements, double factor, T* x) {
  const T by = static_cast<T>(factor);
  for (int64_t i = 0; i < elements; ++i) x[i] *= by;
}

template <class T>
double SumOfSquares(int64_t elements, const T* x) {
  double sum = 0;
  for (int64_t i = 0; i < elements; ++i) {
    double value = x[i];
    sum += value * value;
  }
  return sum;
}

template void Add(int64_t, const float*, float*);
template void Add(int64_t, const double*, double*);
template void Scale(int64_t, double, float*);
template void Scale(int64_t, double, double*);
template double SumOfSquares(int64_t, const float*);
template double SumOfSquares(int64_t, const double*);

}  // namespace ballast::cpu
