// Errors of the CUDA runtime as DeviceError.
//
//   BALLAST_CUDA_CHECK(cudaMalloc(&data, bytes));
#pragma once

#include <cuda_runtime_api.h>

namespace ballast::kernels {

// Throws DeviceError with the call, what CUDA says, file and line; clears the runtime's last error.
[[noreturn]] void ThrowCudaError(cudaError_t code, const char* call, const char* file, int line);

// Names the launches of one operation for the profiler as long as it lives, and throws at Check() what a
// launch was refused for. Faults of a kernel that runs later surface at a later call.
class Launch {
 public:
  explicit Launch(const char* operation);
  ~Launch();
  Launch(const Launch&) = delete;
  Launch& operator=(const Launch&) = delete;
  void Check() const;

 private:
  const char* operation_;
};

}  // namespace ballast::kernels

#define BALLAST_CUDA_CHECK(call)                                                        \
  do {                                                                                  \
    const cudaError_t ballast_cuda_code = (call);                                       \
    if (ballast_cuda_code != cudaSuccess) {                                             \
      ::ballast::kernels::ThrowCudaError(ballast_cuda_code, #call, __FILE__, __LINE__); \
    }                                                                                   \
  } while (false)
