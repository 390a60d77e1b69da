#include "worker/backend/cpu/cpu_memory.h"

#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/math.h"

namespace ballast {
namespace {

constexpr size_t kAlignment = 64;

}  // namespace

CpuMemory::CpuMemory(size_t bytes_max) : bytes_max_(bytes_max), account_(std::make_shared<Account>()) {}

absl::StatusOr<Buffer> CpuMemory::Allocate(size_t bytes, const std::string& label) {
  if (bytes == 0) return Buffer();
  auto exhausted = [&](const char* who) {
    return absl::ResourceExhaustedError(absl::StrCat(label, ": ", who, " refuses ", bytes, " bytes; ",
                                                     this->bytes(), " in use, ", bytes_max_, " allowed"));
  };
  if (!account_->Reserve(bytes, bytes_max_, label)) return exhausted("the memory bound");
  size_t rounded = static_cast<size_t>(CeilDiv(static_cast<int64_t>(bytes), kAlignment)) * kAlignment;
  void* data = std::aligned_alloc(kAlignment, rounded);
  if (data == nullptr) {
    account_->Release(bytes, label);
    return exhausted("the system");
  }
  std::memset(data, 0, rounded);
  auto free = [account = account_, bytes, label](void* memory) {
    std::free(memory);
    account->Release(bytes, label);
  };
  return Buffer(data, bytes, std::shared_ptr<void>(data, free));
}

size_t CpuMemory::bytes() const {
  MutexLock lock(account_->mutex);
  return account_->bytes;
}

std::map<std::string, size_t> CpuMemory::bytes_by_label() const {
  MutexLock lock(account_->mutex);
  return account_->bytes_by_label;
}

bool CpuMemory::Account::Reserve(size_t more, size_t bytes_max, const std::string& label) {
  MutexLock lock(mutex);
  if (more > bytes_max - bytes) return false;
  bytes += more;
  bytes_by_label[label] += more;
  return true;
}

void CpuMemory::Account::Release(size_t less, const std::string& label) {
  MutexLock lock(mutex);
  bytes -= less;
  auto entry = bytes_by_label.find(label);
  entry->second -= less;
  if (entry->second == 0) bytes_by_label.erase(entry);
}

}  // namespace ballast
