// Window: memory that messages are packed into or received into.
#pragma once

#include <cstddef>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "worker/backend/backend.h"

namespace ballast {

// As large as the generation may need (WindowBytes); never grows.
class Window {
 public:
  // Once. ResourceExhausted.
  absl::Status Allocate(Backend& backend, size_t bytes) {
    if (bytes == 0) return absl::OkStatus();
    BALLAST_ASSIGN_OR_RETURN(buffer_, backend.Allocate(bytes, "transfer windows"));
    return absl::OkStatus();
  }
  size_t bytes() const { return buffer_.bytes(); }
  char* data() const { return static_cast<char*>(buffer_.data()); }

 private:
  Buffer buffer_;
};

}  // namespace ballast
