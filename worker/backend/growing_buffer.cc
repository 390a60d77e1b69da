#include "worker/backend/growing_buffer.h"

#include "base/status_macros.h"

namespace ballast {

absl::StatusOr<Matrix> GrowingBuffer::Shape(int64_t rows, int64_t columns) {
  return ShapeOf(backend_->dtype(), rows, columns);
}

absl::StatusOr<Matrix> GrowingBuffer::RouterShape(int64_t rows, int64_t columns) {
  return ShapeOf(backend_->router_dtype(), rows, columns);
}

absl::StatusOr<Matrix> GrowingBuffer::ShapeOf(DType dtype, int64_t rows, int64_t columns) {
  BALLAST_RETURN_IF_ERROR(Reserve(static_cast<size_t>(rows * columns) * DTypeBytes(dtype)));
  return Matrix{buffer_.data(), rows, columns};
}

absl::Status GrowingBuffer::Reserve(size_t bytes) {
  if (bytes <= buffer_.bytes()) return absl::OkStatus();
  buffer_ = Buffer();  // the old memory goes first, so that both are never held at once
  BALLAST_ASSIGN_OR_RETURN(buffer_, backend_->Allocate(bytes, label_));
  return absl::OkStatus();
}

}  // namespace ballast
