#include "worker/schedule/scratch.h"

#include "base/status_macros.h"

namespace ballast {

absl::StatusOr<char*> AllToAllScratch::Get(int index, size_t bytes) {
  if (buffers_.size() <= static_cast<size_t>(index)) buffers_.resize(index + 1);
  Buffer& buffer = buffers_[index];
  if (buffer.bytes() < bytes) {
    // A quarter more than asked: row counts of later exchanges vary, and growing costs an allocation.
    buffer = Buffer();
    BALLAST_ASSIGN_OR_RETURN(buffer, backend_.Allocate(bytes + bytes / 4, "all-to-all buffers"));
  }
  return static_cast<char*>(buffer.data());
}

}  // namespace ballast
