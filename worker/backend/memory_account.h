// MemoryAccount: what one backend has allocated and not yet freed, counted by label.
#pragma once

#include <cstddef>
#include <map>
#include <string>

#include "base/mutex.h"

namespace ballast {

// Shared by a backend and its buffers, so that freeing one after the backend is gone is harmless. From any
// thread.
class MemoryAccount {
 public:
  // False, and nothing taken, when that would pass `bytes_max`.
  bool Reserve(size_t more, size_t bytes_max, const std::string& label);
  void Release(size_t less, const std::string& label);

  size_t bytes() const;
  // Labels with nothing in use are left out.
  std::map<std::string, size_t> bytes_by_label() const;

 private:
  mutable Mutex mutex_;
  size_t bytes_ GUARDED_BY(mutex_) = 0;
  std::map<std::string, size_t> bytes_by_label_ GUARDED_BY(mutex_);
};

}  // namespace ballast
