#include "worker/checkpoint/safetensors.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "worker/checkpoint/json.h"

namespace ballast {
namespace {

constexpr size_t kLengthBytes = 8;
constexpr size_t kHeaderMax = size_t{100} << 20;  // as the format's own reader has it

size_t BytesOf(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return 4;
    case DType::kFloat64:
      return 8;
    case DType::kBFloat16:
      return 2;
  }
  return 0;
}

// 0 = unknown here.
size_t BytesOf(const std::string& dtype) {
  for (DType known : {DType::kFloat32, DType::kFloat64, DType::kBFloat16}) {
    if (dtype == SafetensorsDType(known)) return BytesOf(known);
  }
  return 0;
}

// False when the product does not fit.
bool Multiply(int64_t factor, int64_t& product) {
  if (factor != 0 && product > std::numeric_limits<int64_t>::max() / factor) return false;
  product *= factor;
  return true;
}

}  // namespace

const char* SafetensorsDType(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return "F32";
    case DType::kFloat64:
      return "F64";
    case DType::kBFloat16:
      return "BF16";
  }
  return "?";
}

std::string SafetensorsHead(const std::vector<TensorEntry>& tensors,
                            const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t begin = 0;
  for (const TensorEntry& tensor : tensors) {
    uint64_t bytes = BytesOf(tensor.dtype);
    for (int64_t size : tensor.shape) bytes *= static_cast<uint64_t>(size);
    nlohmann::ordered_json& entry = header[tensor.name];
    entry["dtype"] = SafetensorsDType(tensor.dtype);
    entry["shape"] = tensor.shape;
    entry["data_offsets"] = {begin, begin + bytes};
    begin += bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + kLengthBytes - 1) / kLengthBytes * kLengthBytes, ' ');
  std::string head(kLengthBytes, '\0');
  for (size_t i = 0; i < kLengthBytes; ++i) head[i] = static_cast<char>(text.size() >> (8 * i) & 0xff);
  return head + text;
}

absl::StatusOr<std::map<std::string, TensorView>> ReadSafetensors(std::span<const unsigned char> file,
                                                                  const std::string& name) {
  const auto wrong = [&](const std::string& text) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": ", text));
  };
  if (file.size() < kLengthBytes)
    return wrong(absl::StrCat("found ", file.size(), " bytes, allowed 8 and more"));
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) length |= static_cast<uint64_t>(file[i]) << (8 * i);
  const uint64_t room = std::min<uint64_t>(file.size() - kLengthBytes, kHeaderMax);
  if (length > room)
    return wrong(
        absl::StrCat("found a header of ", length, " bytes, allowed ", room, " (the file, and 100 MiB)"));
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + kLengthBytes, length);
  BALLAST_ASSIGN_OR_RETURN(const nlohmann::json header, ParseObject(text, name));
  const std::span<const unsigned char> data = file.subspan(kLengthBytes + length);

  JsonReader reader(name);
  std::map<std::string, TensorView> tensors;
  std::vector<std::pair<int64_t, int64_t>> ranges;
  for (const auto& [key, entry] : header.items()) {
    if (key == "__metadata__") continue;
    TensorView view;
    view.dtype = reader.Text(entry, "dtype");
    view.elements = 1;
    for (const nlohmann::json& size : reader.List(entry, "shape")) {
      // Counts are written as such; what is negative, broken or too large is none.
      if (!size.is_number_unsigned() || size.get<uint64_t>() > (uint64_t{1} << 60) ||
          !Multiply(size.get<int64_t>(), view.elements)) {
        return wrong(absl::StrCat(key, ".shape: found what no tensor has"));
      }
      view.shape.push_back(size.get<int64_t>());
    }
    const nlohmann::json& offsets = reader.List(entry, "data_offsets");
    if (!reader.ok()) return reader.status();
    if (offsets.size() != 2 || !offsets[0].is_number_unsigned() || !offsets[1].is_number_unsigned() ||
        offsets[0] > offsets[1] || offsets[1].get<uint64_t>() > data.size()) {
      return wrong(absl::StrCat(key, ".data_offsets: found ", offsets.dump(), ", allowed two within the ",
                                data.size(), " bytes of data"));
    }
    const auto begin = offsets[0].get<int64_t>(), end = offsets[1].get<int64_t>();
    const size_t element = BytesOf(view.dtype);
    if (element == 0)
      return wrong(absl::StrCat(key, ".dtype: found ", view.dtype, ", allowed F32, F64, BF16"));
    int64_t bytes = static_cast<int64_t>(element);
    if (!Multiply(view.elements, bytes) || bytes != end - begin) {
      return wrong(absl::StrCat(key, ": found ", end - begin, " bytes for ", view.elements, " values of ",
                                view.dtype));
    }
    view.data = data.data() + begin;
    view.bytes = static_cast<size_t>(bytes);
    ranges.emplace_back(begin, end);
    tensors.emplace(key, std::move(view));
  }
  std::sort(ranges.begin(), ranges.end());
  int64_t covered = 0;
  for (const auto& [begin, end] : ranges) {
    if (begin != covered)
      return wrong(absl::StrCat("tensors overlap or leave a gap at byte ", covered, " of the data"));
    covered = end;
  }
  if (covered != static_cast<int64_t>(data.size()))
    return wrong(absl::StrCat("found ", data.size(), " bytes of data, the tensors have ", covered));
  return tensors;
}

}  // namespace ballast
