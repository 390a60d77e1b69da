#include "worker/backend/cuda/cuda_stream.h"

#include <string>

#include "base/device_error.h"
#include "kernels/check.h"
#include "worker/backend/cuda/device.h"

namespace ballast {
namespace {

constexpr size_t kResultsMax = 1024;

}  // namespace

CudaStream::CudaStream(int device, CudaMemory& memory) : device_(device), memory_(memory) {
  UseCudaDevice(device);
  BALLAST_CUDA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
  BALLAST_CUDA_CHECK(
      cudaHostAlloc(reinterpret_cast<void**>(&mapped_), kResultsMax * sizeof(double), cudaHostAllocMapped));
  matmul_ = std::make_unique<MatmulRunner>(memory);
}

CudaStream::~CudaStream() {
  cudaSetDevice(device_);
  matmul_.reset();
  cudaFreeHost(mapped_);
  cudaStreamDestroy(stream_);
}

void* CudaStream::Scratch(size_t bytes) {
  if (bytes > scratch_.bytes()) {
    BALLAST_CUDA_CHECK(cudaStreamSynchronize(stream_));  // the old scratch may be in use
    scratch_ = Buffer();
    auto grown = memory_.Allocate(bytes + bytes / 4, "stream scratch");
    if (!grown.ok()) throw DeviceError(std::string(grown.status().message()));
    scratch_ = *std::move(grown);
  }
  return scratch_.data();
}

double* CudaStream::Result(double* out) {
  if (results_.size() == kResultsMax) Synchronize();
  results_.push_back(out);
  return mapped_ + results_.size() - 1;
}

void CudaStream::Synchronize() {
  BALLAST_CUDA_CHECK(cudaStreamSynchronize(stream_));
  for (size_t i = 0; i < results_.size(); ++i) *results_[i] = mapped_[i];
  results_.clear();
}

}  // namespace ballast
