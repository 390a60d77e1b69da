// Window: memory that messages are packed into or received into.
#pragma once

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "worker/backend/backend.h"

namespace ballast {

// Always exactly as large as the present plan needs, so that memory is a function of the plan. Allocates only
// when that changes.
class Window {
 public:
  explicit Window(Backend& backend) : backend_(backend) {}
  // Contents are lost when the size changes.
  absl::Status Resize(size_t bytes) {
    if (bytes == buffer_.bytes()) return absl::OkStatus();
    buffer_ = Buffer();
    if (bytes == 0) return absl::OkStatus();
    BALLAST_ASSIGN_OR_RETURN(buffer_, backend_.Allocate(bytes, "transfer windows"));
    return absl::OkStatus();
  }
  size_t bytes() const { return buffer_.bytes(); }
  char* data() const { return static_cast<char*>(buffer_.data()); }

 private:
  Backend& backend_;
  Buffer buffer_;
};

}  // namespace ballast
