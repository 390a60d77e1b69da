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
  // Ahead of the streams of products side by side, which would else keep exchanges off the device.
  int least = 0, greatest = 0;
  BALLAST_CUDA_CHECK(cudaDeviceGetStreamPriorityRange(&least, &greatest));
  BALLAST_CUDA_CHECK(cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, greatest));
  BALLAST_CUDA_CHECK(cudaEventCreateWithFlags(&reached_, cudaEventDisableTiming));
  BALLAST_CUDA_CHECK(
      cudaHostAlloc(reinterpret_cast<void**>(&mapped_), kResultsMax * sizeof(double), cudaHostAllocMapped));
  host_copies_ = std::make_unique<HostCopies>();
  matmul_ = std::make_unique<MatmulRunner>(memory);
}

CudaStream::~CudaStream() {
  cudaSetDevice(device_);
  matmul_.reset();
  host_copies_.reset();
  cudaFreeHost(mapped_);
  cudaEventDestroy(reached_);
  cudaStreamDestroy(stream_);
}

void CudaStream::Grow(Buffer& buffer, size_t bytes) {
  if (bytes <= buffer.bytes()) return;
  BALLAST_CUDA_CHECK(cudaStreamSynchronize(stream_));  // the old memory may be in use
  buffer = Buffer();
  auto grown = memory_.Allocate(bytes + bytes / 4, "stream scratch");
  if (!grown.ok()) throw DeviceError(std::string(grown.status().message()));
  buffer = *std::move(grown);
}

void* CudaStream::Scratch(size_t bytes) {
  Grow(scratch_, bytes);
  return scratch_.data();
}

const void* CudaStream::UploadBytes(const void* bytes, size_t size) {
  Grow(uploads_, size);
  if (size > 0) Copy(uploads_.data(), bytes, size);
  return uploads_.data();
}

void CudaStream::RunBehind(CudaStream& before) {
  BALLAST_CUDA_CHECK(cudaEventRecord(before.reached_, before.stream_));
  BALLAST_CUDA_CHECK(cudaStreamWaitEvent(stream_, before.reached_));
}

void CudaStream::Copy(void* to, const void* from, size_t bytes) {
  if (host_copies_->Enqueue(to, from, bytes, stream_)) return;
  BALLAST_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_));
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
  host_copies_->HandOut();
}

}  // namespace ballast
