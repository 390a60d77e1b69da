// A kernel that does nothing: if the runtime finds machine code for it, it finds the others'.
#include "kernels/check.h"
#include "kernels/probe.h"

namespace ballast::kernels {
namespace {

__global__ void ProbeKernel() {}

}  // namespace

bool RunsOnCurrentDevice() {
  cudaFuncAttributes attributes;
  const cudaError_t code = cudaFuncGetAttributes(&attributes, ProbeKernel);
  if (code == cudaErrorNoKernelImageForDevice || code == cudaErrorInvalidDeviceFunction) {
    cudaGetLastError();
    return false;
  }
  BALLAST_CUDA_CHECK(code);
  return true;
}

}  // namespace ballast::kernels
