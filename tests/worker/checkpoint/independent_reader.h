// A second reader of safetensors files, written from the format's description alone: it shares no code with
// worker/checkpoint.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace ballast {

struct ReadTensor {
  std::string dtype;
  std::vector<int64_t> shape;
  std::vector<float> values;  // of F32 or BF16
};

// By name. Throws std::runtime_error for what is not a file of that format.
std::map<std::string, ReadTensor> ReadTensorFile(const std::string& path);

// JSON without escapes in texts, which the files do not need.
struct ReadValue {
  std::string text;                          // of a text, number or word
  std::vector<ReadValue> items;              // of a list
  std::map<std::string, ReadValue> members;  // of an object
};
// Throws std::runtime_error for what is no JSON.
ReadValue ReadJsonFile(const std::string& path);

// The members of a flat JSON object of texts, of object `member` within the file: {"member": {"a": "b"}}.
std::map<std::string, std::string> ReadTextMap(const std::string& path, const std::string& member);

}  // namespace ballast
