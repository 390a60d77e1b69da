#include "worker/backend/memory_account.h"

namespace ballast {

bool MemoryAccount::Reserve(size_t more, size_t bytes_max, const std::string& label) {
  MutexLock lock(mutex_);
  if (more > bytes_max - bytes_) return false;
  bytes_ += more;
  bytes_by_label_[label] += more;
  return true;
}

void MemoryAccount::Release(size_t less, const std::string& label) {
  MutexLock lock(mutex_);
  bytes_ -= less;
  auto entry = bytes_by_label_.find(label);
  entry->second -= less;
  if (entry->second == 0) bytes_by_label_.erase(entry);
}

size_t MemoryAccount::bytes() const {
  MutexLock lock(mutex_);
  return bytes_;
}

std::map<std::string, size_t> MemoryAccount::bytes_by_label() const {
  MutexLock lock(mutex_);
  return bytes_by_label_;
}

}  // namespace ballast
