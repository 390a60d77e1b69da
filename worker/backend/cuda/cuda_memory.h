// CudaMemory: the memory of one CUDA backend, counted by label.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/types.h"
#include "worker/backend/backend.h"
#include "worker/backend/memory_account.h"

namespace ballast {

// All methods may be called from any thread. Buffers may outlive it.
class CudaMemory {
 public:
  // `bytes_max` bounds what is in use at one time. Throws DeviceError.
  CudaMemory(int device, size_t bytes_max);
  ~CudaMemory();
  CudaMemory(const CudaMemory&) = delete;
  CudaMemory& operator=(const CudaMemory&) = delete;

  // Zeroed, aligned to 256 bytes. ResourceExhausted names bytes asked, in use, allowed and free.
  absl::StatusOr<Buffer> Allocate(size_t bytes, const std::string& label);

  size_t bytes() const { return account_->bytes(); }
  std::map<std::string, size_t> bytes_by_label() const { return account_->bytes_by_label(); }

 private:
  const int device_;
  const size_t bytes_max_;
  const std::shared_ptr<MemoryAccount> account_;
  kernels::Stream zeroing_ = nullptr;  // of its own: zeroing waits for nobody else's work
};

}  // namespace ballast
