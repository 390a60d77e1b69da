// Addition and scaling. T is float or BFloat16 here and in all headers of this folder; sums are taken in
// float and rounded once. What an operation computes stands at its method of Backend.
#pragma once

#include <cstdint>

#include "kernels/types.h"

namespace ballast::kernels {

// y += x, each float or BFloat16.
template <class X, class Y>
void Add(int64_t elements, const X* x, Y* y, Stream stream);
// x *= factor
template <class T>
void Scale(int64_t elements, float factor, T* x, Stream stream);

}  // namespace ballast::kernels
