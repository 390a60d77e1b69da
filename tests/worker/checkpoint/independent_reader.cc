#include "tests/worker/checkpoint/independent_reader.h"

#include <cctype>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace ballast {
namespace {

class Scanner {
 public:
  explicit Scanner(const std::string& text) : text_(text) {}
  ReadValue Read() {
    Blank();
    ReadValue value;
    if (Take('{')) {
      for (Blank(); !Take('}'); Blank()) {
        Take(',');
        Blank();
        const std::string key = Quoted();
        Blank();
        Need(':');
        value.members[key] = Read();
      }
    } else if (Take('[')) {
      for (Blank(); !Take(']'); Blank()) {
        Take(',');
        value.items.push_back(Read());
      }
    } else if (text_[at_] == '"') {
      value.text = Quoted();
    } else {
      while (at_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at_])) ||
                                    std::strchr("+-.", text_[at_]) != nullptr)) {
        value.text += text_[at_++];
      }
      if (value.text.empty()) throw std::runtime_error("no JSON value at byte " + std::to_string(at_));
    }
    return value;
  }

 private:
  void Blank() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
    if (at_ == text_.size()) throw std::runtime_error("the JSON ends early");
  }
  bool Take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void Need(char c) {
    if (!Take(c)) throw std::runtime_error(std::string("expected ") + c);
  }
  std::string Quoted() {
    Need('"');
    const size_t end = text_.find('"', at_);
    if (end == std::string::npos) throw std::runtime_error("a text is not closed");
    std::string quoted = text_.substr(at_, end - at_);
    at_ = end + 1;
    return quoted;
  }

  const std::string& text_;
  size_t at_ = 0;
};

std::string Whole(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error(path + " cannot be read");
  return std::string(std::istreambuf_iterator<char>(in), {});
}

}  // namespace

std::map<std::string, ReadTensor> ReadTensorFile(const std::string& path) {
  const std::string bytes = Whole(path);
  uint64_t length = 0;
  if (bytes.size() < 8) throw std::runtime_error(path + " is too short");
  std::memcpy(&length, bytes.data(), 8);  // the tests run on little-endian machines
  const std::string header = bytes.substr(8, length);
  std::map<std::string, ReadTensor> tensors;
  for (const auto& [name, entry] : Scanner(header).Read().members) {
    if (name == "__metadata__") continue;
    ReadTensor& tensor = tensors[name];
    tensor.dtype = entry.members.at("dtype").text;
    size_t elements = 1;
    for (const ReadValue& size : entry.members.at("shape").items) {
      tensor.shape.push_back(std::stoll(size.text));
      elements *= std::stoull(size.text);
    }
    const std::vector<ReadValue>& offsets = entry.members.at("data_offsets").items;
    const size_t begin = std::stoull(offsets.at(0).text), end = std::stoull(offsets.at(1).text);
    const size_t width = tensor.dtype == "F32" ? 4 : tensor.dtype == "BF16" ? 2 : 0;
    if (width == 0 || end - begin != width * elements || 8 + length + end > bytes.size())
      throw std::runtime_error(path + ": " + name + " does not fit");
    tensor.values.resize(elements);
    for (size_t i = 0; i < elements; ++i) {
      uint32_t bits = 0;  // a BF16 is the upper half of an F32
      std::memcpy(reinterpret_cast<char*>(&bits) + 4 - width, bytes.data() + 8 + length + begin + width * i,
                  width);
      std::memcpy(&tensor.values[i], &bits, sizeof(bits));
    }
  }
  return tensors;
}

ReadValue ReadJsonFile(const std::string& path) {
  const std::string text = Whole(path);
  return Scanner(text).Read();
}

std::map<std::string, std::string> ReadTextMap(const std::string& path, const std::string& member) {
  const ReadValue document = ReadJsonFile(path);
  const ReadValue& object = member.empty() ? document : document.members.at(member);
  std::map<std::string, std::string> map;
  for (const auto& [key, value] : object.members) map[key] = value.text;
  return map;
}

}  // namespace ballast
