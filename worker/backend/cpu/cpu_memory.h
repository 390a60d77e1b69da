// CpuMemory: the memory of one CPU backend, counted by label.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "worker/backend/backend.h"

namespace ballast {

// All methods may be called from any thread. Buffers may outlive it.
class CpuMemory {
 public:
  // `bytes_max` bounds what is in use at one time.
  explicit CpuMemory(size_t bytes_max);

  // Zeroed, aligned to a cache line. ResourceExhausted names bytes asked, in use and allowed.
  absl::StatusOr<Buffer> Allocate(size_t bytes, const std::string& label);

  size_t bytes() const;
  // Labels with nothing in use are left out.
  std::map<std::string, size_t> bytes_by_label() const;

 private:
  // Buffers share it, so that freeing one after the backend is gone is harmless.
  struct Account {
    Mutex mutex;
    size_t bytes GUARDED_BY(mutex) = 0;
    std::map<std::string, size_t> bytes_by_label GUARDED_BY(mutex);
    // False, and nothing taken, when that would pass `bytes_max`.
    bool Reserve(size_t more, size_t bytes_max, const std::string& label);
    void Release(size_t less, const std::string& label);
  };
  const size_t bytes_max_;
  const std::shared_ptr<Account> account_;
};

}  // namespace ballast
