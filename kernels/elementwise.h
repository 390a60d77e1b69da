// Addition, sums of gradients and scaling. T is float or BFloat16 here and in all headers of this folder;
// sums are taken in float and rounded once. What an operation computes stands at its method of Backend.
#pragma once

#include <cstdint>

#include "kernels/types.h"

namespace ballast::kernels {

// y += x
template <class T>
void Add(int64_t elements, const T* x, T* y, Stream stream);
// sum = x, or with `add` sum += x.
template <class T>
void SumIntoFloat(int64_t elements, const T* x, bool add, float* sum, Stream stream);
// y += x, a sum of float until it is stored.
template <class T>
void AddFloat(int64_t elements, const float* x, T* y, Stream stream);
// x *= factor
template <class T>
void Scale(int64_t elements, float factor, T* x, Stream stream);

}  // namespace ballast::kernels
