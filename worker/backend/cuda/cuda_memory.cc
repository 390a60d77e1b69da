#include "worker/backend/cuda/cuda_memory.h"

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "worker/backend/cuda/device.h"

namespace ballast {

CudaMemory::CudaMemory(int device, size_t bytes_max)
    : device_(device), bytes_max_(bytes_max), account_(std::make_shared<MemoryAccount>()) {
  UseCudaDevice(device);
  BALLAST_CUDA_CHECK(cudaStreamCreateWithFlags(&zeroing_, cudaStreamNonBlocking));
}

CudaMemory::~CudaMemory() { cudaStreamDestroy(zeroing_); }

absl::StatusOr<Buffer> CudaMemory::Allocate(size_t bytes, const std::string& label) {
  if (bytes == 0) return Buffer();
  if (!account_->Reserve(bytes, bytes_max_, label)) {
    return absl::ResourceExhaustedError(absl::StrCat(label, ": the memory bound refuses ", bytes, " bytes; ",
                                                     this->bytes(), " in use, ", bytes_max_, " allowed"));
  }
  UseCudaDevice(device_);
  void* data = nullptr;
  const cudaError_t code = cudaMalloc(&data, bytes);
  if (code != cudaSuccess) {
    account_->Release(bytes, label);
    if (code != cudaErrorMemoryAllocation) {
      kernels::ThrowCudaError(code, "cudaMalloc", __FILE__, __LINE__);
    }
    cudaGetLastError();
    size_t free = 0, total = 0;
    BALLAST_CUDA_CHECK(cudaMemGetInfo(&free, &total));
    return absl::ResourceExhaustedError(absl::StrCat(label, ": CUDA device ", device_, " refuses ", bytes,
                                                     " bytes; ", this->bytes(), " in use here, ", free,
                                                     " of its ", total, " free"));
  }
  auto release = [account = account_, bytes, label, device = device_](void* memory) {
    // Errors of earlier work surface here as well; a destructor is no place to throw them.
    if (cudaSetDevice(device) == cudaSuccess) cudaFree(memory);
    account->Release(bytes, label);
  };
  Buffer buffer(data, bytes, std::shared_ptr<void>(data, release));
  BALLAST_CUDA_CHECK(cudaMemsetAsync(data, 0, bytes, zeroing_));
  BALLAST_CUDA_CHECK(cudaStreamSynchronize(zeroing_));
  return buffer;
}

}  // namespace ballast
