// SwiGLU, forward and backward.
#pragma once

#include <cstdint>

#include "kernels/types.h"

namespace ballast::kernels {

template <class T>
void SwigluForward(int64_t elements, const T* gate, const T* up, T* hidden, Stream stream);
template <class T>
void SwigluBackward(int64_t elements, const T* gate, const T* up, const T* hidden_gradient, T* gate_gradient,
                    T* up_gradient, Stream stream);

}  // namespace ballast::kernels
