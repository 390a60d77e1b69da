// Reader and writer of .npy files (NumPy's array format 1.0 to 3.0) of integers. The bytes are hostile input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace ballast {

// An array of integers in C order that keeps the file's bytes and reads values from them.
class NpyArray {
 public:
  // InvalidArgument, saying what was found and what is allowed: not this format, an unknown version, a header
  // that is not the expected dictionary, a type other than little-endian integers of 1 to 8 bytes, Fortran
  // order, more than 8 dimensions, sizes that overflow or do not match the length of the file.
  static absl::StatusOr<NpyArray> Parse(std::string bytes);

  const std::vector<int64_t>& shape() const { return shape_; }
  int64_t size() const { return size_; }
  // Value `index` in C order. OutOfRange when an unsigned 64-bit value does not fit.
  absl::StatusOr<int64_t> At(int64_t index) const;

 private:
  NpyArray() = default;

  std::string bytes_;
  std::vector<int64_t> shape_;
  int64_t size_ = 0;
  size_t data_ = 0;  // where values begin
  int width_ = 0;    // bytes of a value
  bool is_signed_ = false;
};

// The header of a version 1.0 file of unsigned integers of `bytes` (1, 2, 4 or 8) in C order; the values
// follow, little-endian.
std::string NpyHeader(int bytes, const std::vector<int64_t>& shape);

}  // namespace ballast
