// CudaStream: a CUDA stream with what its operations need beside their buffers.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "kernels/types.h"
#include "worker/backend/backend.h"
#include "worker/backend/cuda/cuda_memory.h"
#include "worker/backend/cuda/host_copies.h"
#include "worker/backend/cuda/matmul.h"

namespace ballast {

// One thread at a time. Every method throws DeviceError.
class CudaStream final : public Stream {
 public:
  // `memory`, which must outlive it, is where its scratch comes from.
  CudaStream(int device, CudaMemory& memory);
  ~CudaStream() override;
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  kernels::Stream get() const { return stream_; }
  int device() const { return device_; }

  // Device memory for one operation; the next one that asks may get the same.
  void* Scratch(size_t bytes);

  // Where the device writes a value that Synchronize then puts into *out.
  double* Result(double* out);

  // Waits until everything enqueued has run, and hands out the results.
  void Synchronize();

  // As Backend::RunBehind.
  void RunBehind(CudaStream& before);

  // As Backend::Copy.
  void Copy(void* to, const void* from, size_t bytes);

  // `count` device values of T that hold what `values` do, until this is called again.
  template <class T>
  const T* Upload(const T* values, size_t count) {
    return static_cast<const T*>(UploadBytes(values, count * sizeof(T)));
  }

  MatmulRunner& matmul() { return *matmul_; }

 private:
  const void* UploadBytes(const void* bytes, size_t size);
  void Grow(Buffer& buffer, size_t bytes);

  const int device_;
  CudaMemory& memory_;
  kernels::Stream stream_ = nullptr;
  kernels::Event reached_ = nullptr;  // where others run behind
  Buffer scratch_, uploads_;
  std::unique_ptr<HostCopies> host_copies_;
  double* mapped_ = nullptr;      // host memory that the device sees
  std::vector<double*> results_;  // results_[i] gets mapped_[i]
  std::unique_ptr<MatmulRunner> matmul_;
};

}  // namespace ballast
