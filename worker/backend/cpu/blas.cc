#include "worker/backend/cpu/blas.h"

#include <cblas.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace ballast {
namespace {

constexpr char kLibrary[] = "libopenblas.so.0";

// Constant after LoadBlas.
struct Functions {
  decltype(&cblas_sgemm) sgemm = nullptr;
  decltype(&cblas_dgemm) dgemm = nullptr;
  decltype(&openblas_set_num_threads) set_num_threads = nullptr;
  decltype(&openblas_get_corename) get_corename = nullptr;
};
Functions functions;

const char* BestKernels() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
    return "SkylakeX";
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return "Haswell";
#endif
  return nullptr;
}

absl::Status Load() {
  if (const char* kernels = BestKernels()) setenv("OPENBLAS_CORETYPE", kernels, /*overwrite=*/0);
  void* library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return absl::NotFoundError(absl::StrCat("cannot load OpenBLAS: ", dlerror()));
  auto find = [library](const char* name, auto& function) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
    return function != nullptr;
  };
  if (!find("cblas_sgemm", functions.sgemm) || !find("cblas_dgemm", functions.dgemm) ||
      !find("openblas_set_num_threads", functions.set_num_threads) ||
      !find("openblas_get_corename", functions.get_corename)) {
    return absl::NotFoundError(absl::StrCat(kLibrary, " is not OpenBLAS with CBLAS: ", dlerror()));
  }
  functions.set_num_threads(1);
  return absl::OkStatus();
}

int Int(int64_t value) {
  BALLAST_CHECK(value >= 0 && value <= std::numeric_limits<int>::max()) << "size " << value;
  return static_cast<int>(value);
}

}  // namespace

absl::Status LoadBlas() {
  static std::once_flag once;
  static absl::Status result;
  std::call_once(once, [] { result = Load(); });
  return result;
}

std::string BlasKernels() { return functions.get_corename(); }

template <class T>
void Gemm(int64_t m, int64_t n, int64_t k, T alpha, BlasMatrix<const T> a, BlasMatrix<const T> b,
          bool accumulate, BlasMatrix<T> c) {
  BALLAST_CHECK(!c.transposed);
  if (m == 0 || n == 0) return;
  if (k == 0) {
    if (!accumulate) {
      for (int64_t i = 0; i < m; ++i) std::fill_n(c.data + i * c.stride, n, T(0));
    }
    return;
  }
  auto transpose = [](const BlasMatrix<const T>& x) { return x.transposed ? CblasTrans : CblasNoTrans; };
  // BLAS must not read c when it is not accumulated into (it may hold NaN); it promises that for beta = 0.
  T beta = accumulate ? T(1) : T(0);
  if constexpr (sizeof(T) == sizeof(float)) {
    functions.sgemm(CblasRowMajor, transpose(a), transpose(b), Int(m), Int(n), Int(k), alpha, a.data,
                    Int(a.stride), b.data, Int(b.stride), beta, c.data, Int(c.stride));
  } else {
    functions.dgemm(CblasRowMajor, transpose(a), transpose(b), Int(m), Int(n), Int(k), alpha, a.data,
                    Int(a.stride), b.data, Int(b.stride), beta, c.data, Int(c.stride));
  }
}

template void Gemm(int64_t, int64_t, int64_t, float, BlasMatrix<const float>, BlasMatrix<const float>, bool,
                   BlasMatrix<float>);
template void Gemm(int64_t, int64_t, int64_t, double, BlasMatrix<const double>, BlasMatrix<const double>,
                   bool, BlasMatrix<double>);

}  // namespace ballast
