// The safetensors format: u64 length of the header, a JSON header {name: {dtype, shape, data_offsets}}, then
// the tensors without gaps.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "plan/job_config.h"

namespace ballast {

struct TensorEntry {
  std::string name;
  DType dtype = DType::kFloat32;
  std::vector<int64_t> shape;
};
// Everything before the data, which follows in the order of `tensors`: length and header, padded with blanks
// to a multiple of 8.
std::string SafetensorsHead(const std::vector<TensorEntry>& tensors,
                            const std::map<std::string, std::string>& metadata);

struct TensorView {
  std::string dtype;  // "F32"
  std::vector<int64_t> shape;
  int64_t elements = 0;
  const unsigned char* data = nullptr;  // into the file's bytes, not aligned
  size_t bytes = 0;
};
// Reads a header strictly: every tensor lies within `file`, none overlaps another, they cover the data
// without a gap, and sizes agree with shapes. InvalidArgument names `name` (the file) and the tensor.
absl::StatusOr<std::map<std::string, TensorView>> ReadSafetensors(std::span<const unsigned char> file,
                                                                  const std::string& name);

const char* SafetensorsDType(DType dtype);  // "F32", "F64", "BF16"

}  // namespace ballast
