#include "kernels/check.h"

#include <nvtx3/nvToolsExt.h>

#include <string>

#include "base/device_error.h"

namespace ballast::kernels {

void ThrowCudaError(cudaError_t code, const char* call, const char* file, int line) {
  cudaGetLastError();  // an error that is not sticky must not surface at the next, innocent call
  throw DeviceError(std::string(call) + " failed with " + cudaGetErrorName(code) + " (" +
                    cudaGetErrorString(code) + ") at " + file + ":" + std::to_string(line));
}

Launch::Launch(const char* operation) : operation_(operation) { nvtxRangePushA(operation); }
Launch::~Launch() { nvtxRangePop(); }

void Launch::Check() const {
  const cudaError_t code = cudaGetLastError();
  if (code != cudaSuccess) ThrowCudaError(code, operation_, __FILE__, __LINE__);
}

}  // namespace ballast::kernels
