// SwiGLU (Shazeer, arXiv 2002.05202): silu(gate) * up, silu(x) = x / (1 + exp(-x)).
#include <cmath>

#include "worker/backend/cpu/kernels.h"

namespace ballast::cpu {

template <class T>
void SwigluForward(Rows<const T> gate_up, Rows<T> hidden) {
  for (int64_t row = 0; row < hidden.rows; ++row) {
    const T* gate = gate_up[row];
    const T* up = gate + hidden.columns;
    T* out = hidden[row];
    for (int64_t i = 0; i < hidden.columns; ++i) out[i] = gate[i] / (T(1) + std::exp(-gate[i])) * up[i];
  }
}

template <class T>
void SwigluBackward(Rows<const T> gate_up, Rows<const T> hidden_gradient, Rows<T> gate_up_gradient) {
  const int64_t columns = hidden_gradient.columns;
  for (int64_t row = 0; row < gate_up.rows; ++row) {
    const T* gate = gate_up[row];
    const T* up = gate + columns;
    const T* pull = hidden_gradient[row];
    T* gate_gradient = gate_up_gradient[row];
    T* up_gradient = gate_gradient + columns;
    for (int64_t i = 0; i < columns; ++i) {
      const T sigmoid = T(1) / (T(1) + std::exp(-gate[i]));
      const T silu = gate[i] * sigmoid;
      up_gradient[i] = pull[i] * silu;
      gate_gradient[i] = pull[i] * up[i] * (sigmoid + silu * (T(1) - sigmoid));
    }
  }
}

template void SwigluForward(Rows<const float>, Rows<float>);
template void SwigluForward(Rows<const double>, Rows<double>);
template void SwigluBackward(Rows<const float>, Rows<const float>, Rows<float>);
template void SwigluBackward(Rows<const double>, Rows<const double>, Rows<double>);

}  // namespace ballast::cpu
