// GrowingBuffer: memory that is allocated again only when more is needed than ever before.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "worker/backend/backend.h"

namespace ballast {

// For activations and the like: after the largest microbatch nothing allocates any more. Contents are lost
// when it grows. Movable; one thread at a time.
class GrowingBuffer {
 public:
  // `label` is for the memory report. Allocates nothing yet.
  GrowingBuffer(Backend& backend, std::string label) : backend_(&backend), label_(std::move(label)) {}

  // Memory for a matrix of the backend's compute type, with whatever was in it; valid until the next call.
  // ResourceExhausted as Backend::Allocate.
  absl::StatusOr<Matrix> Shape(int64_t rows, int64_t columns);
  // The same of the router type.
  absl::StatusOr<Matrix> RouterShape(int64_t rows, int64_t columns);

  // The same for `elements` values of T.
  template <class T>
  absl::StatusOr<T*> Array(int64_t elements) {
    absl::Status status = Reserve(static_cast<size_t>(elements) * sizeof(T));
    if (!status.ok()) return status;
    return static_cast<T*>(buffer_.data());
  }

 private:
  absl::StatusOr<Matrix> ShapeOf(DType dtype, int64_t rows, int64_t columns);
  absl::Status Reserve(size_t bytes);

  Backend* backend_;
  std::string label_;
  Buffer buffer_;
};

}  // namespace ballast
