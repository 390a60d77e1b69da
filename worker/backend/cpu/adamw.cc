// AdamW (Loshchilov and Hutter, arXiv 1711.05101): the weight decay acts on the weight, not through the
// moments.
#include <cmath>

#include "worker/backend/cpu/kernels.h"

namespace ballast::cpu {

template <class T>
void AdamW(const AdamWStep& step, int64_t elements, const T* gradient, T* master, T* moment1, T* moment2,
           T* compute_weights) {
  const T beta1 = static_cast<T>(step.beta1);
  const T beta2 = static_cast<T>(step.beta2);
  const T rest1 = static_cast<T>(1 - step.beta1);
  const T rest2 = static_cast<T>(1 - step.beta2);
  const T scale = static_cast<T>(step.gradient_scale);
  const double correction1 = 1 - std::pow(step.beta1, static_cast<double>(step.step));
  const double correction2 = 1 - std::pow(step.beta2, static_cast<double>(step.step));
  const T rate = static_cast<T>(step.learning_rate / correction1);
  const T root_correction = static_cast<T>(1 / std::sqrt(correction2));
  const T epsilon = static_cast<T>(step.epsilon);
  const T keep = static_cast<T>(1 - step.learning_rate * step.weight_decay);
  for (int64_t i = 0; i < elements; ++i) {
    const T g = gradient[i] * scale;
    const T m = beta1 * moment1[i] + rest1 * g;
    const T v = beta2 * moment2[i] + rest2 * g * g;
    moment1[i] = m;
    moment2[i] = v;
    master[i] = keep * master[i] - rate * m / (std::sqrt(v) * root_correction + epsilon);
    compute_weights[i] = master[i];
  }
}

template void AdamW(const AdamWStep&, int64_t, const float*, float*, float*, float*, float*);
template void AdamW(const AdamWStep&, int64_t, const double*, double*, double*, double*, double*);

}  // namespace ballast::cpu
