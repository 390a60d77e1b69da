#include "worker/backend/cpu/cpu_memory.h"

#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/math.h"

namespace ballast {
namespace {

constexpr size_t kAlignment = 64;

}  // namespace

CpuMemory::CpuMemory(size_t bytes_max) : bytes_max_(bytes_max), account_(std::make_shared<MemoryAccount>()) {}

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

}  // namespace ballast
