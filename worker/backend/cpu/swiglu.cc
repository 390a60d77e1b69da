// SwiGLU (Shazeer, arXiv 2002.05202): silu(gate) * up, silu(x) = x / (1 + exp(-x)).
#include <cmath>

#include "worker/backend/cpu/kernels.h"

namespace ballast::cpu {

template <class T>
void SwigluForward(int64_t elements, const T* gate, const T* up, T* hidden) {
  for (int64_t i = 0; i < elements; ++i) hidden[i] = gate[i] / (T(1) + std::exp(-gate[i])) * up[i];
}

template <class T>
void SwigluBackward(int64_t elements, const T* gate, const T* up, const T* hidden_gradient, T* gate_gradient,
                    T* up_gradient) {
  for (int64_t i = 0; i < elements; ++i) {
    const T sigmoid = T(1) / (T(1) + std::exp(-gate[i]));
    const T silu = gate[i] * sigmoid;
    const T gradient = hidden_gradient[i];
    up_gradient[i] = gradient * silu;
    gate_gradient[i] = gradient * up[i] * (sigmoid + silu * (T(1) - sigmoid));
  }
}

template void SwigluForward(int64_t, const float*, const float*, float*);
template void SwigluForward(int64_t, const double*, const double*, double*);
template void SwigluBackward(int64_t, const float*, const float*, const float*, float*, float*);
template void SwigluBackward(int64_t, const double*, const double*, const double*, double*, double*);

}  // namespace ballast::cpu
