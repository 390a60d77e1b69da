// Matrix products of the CPU backend: OpenBLAS, loaded at run time.
//
// OpenBLAS chooses its kernels while it is being loaded, by a table of processors. The one of Debian 12 does
// not know processors that are newer than itself and falls back to SSE kernels, which are five times slower.
// It obeys OPENBLAS_CORETYPE, but only if that is set before it is loaded; so it is not linked, and LoadBlas
// sets the variable from what the processor says it can do.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace ballast {

// Loads OpenBLAS and makes it use one thread per caller. NotFound names the library and the loader's reason.
// Later calls return what the first returned. It may set an environment variable, so the first call belongs
// before a program starts other threads; MakeCpuBackend calls it as well. OPENBLAS_CORETYPE is left alone
// when it is set.
absl::Status LoadBlas();

// The name OpenBLAS gives its kernels, as in "SkylakeX". Requires LoadBlas() to have succeeded.
std::string BlasKernels();

// A matrix that may be a block of columns of a larger one.
template <class T>
struct BlasMatrix {
  T* data = nullptr;
  int64_t stride = 0;       // elements from one row to the next
  bool transposed = false;  // use its transpose
};

// c [m, n] = alpha * a b (+ c if accumulate) with a [m, k] and b [k, n] after transposition. Any size may be
// 0. Any number of threads may call it at once. The same sizes and values give the same bits, wherever the
// matrices lie in memory; with another m, a row may differ in its last bits (OpenBLAS picks kernels by
// shape). `c` is not transposed.
template <class T>
void Gemm(int64_t m, int64_t n, int64_t k, T alpha, BlasMatrix<const T> a, BlasMatrix<const T> b,
          bool accumulate, BlasMatrix<T> c);

}  // namespace ballast
