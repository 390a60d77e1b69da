// CpuMemory: the memory of one CPU backend, counted by label.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "worker/backend/backend.h"
#include "worker/backend/memory_account.h"

namespace ballast {

// All methods may be called from any thread. Buffers may outlive it.
class CpuMemory {
 public:
  // `bytes_max` bounds what is in use at one time.
  explicit CpuMemory(size_t bytes_max);

  // Zeroed, aligned to a cache line. ResourceExhausted names bytes asked, in use and allowed.
  absl::StatusOr<Buffer> Allocate(size_t bytes, const std::string& label);

  size_t bytes() const { return account_->bytes(); }
  std::map<std::string, size_t> bytes_by_label() const { return account_->bytes_by_label(); }

 private:
  const size_t bytes_max_;
  const std::shared_ptr<MemoryAccount> account_;
};

}  // namespace ballast
