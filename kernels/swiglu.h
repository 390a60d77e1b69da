// SwiGLU, forward and backward.
#pragma once

#include <cstdint>

#include "kernels/types.h"

namespace ballast::kernels {

// gate_up and its gradient [rows, 2 * columns]: a row is its gate, then its up; hidden and its gradient
// [rows, columns].
template <class T>
void SwigluForward(int64_t rows, int64_t columns, const T* gate_up, T* hidden, Stream stream);
template <class T>
void SwigluBackward(int64_t rows, int64_t columns, const T* gate_up, const T* hidden_gradient,
                    T* gate_up_gradient, Stream stream);

}  // namespace ballast::kernels
