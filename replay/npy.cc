#include "replay/npy.h"

#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"

namespace ballast {
namespace {

constexpr char kMagic[] = "\x93NUMPY";
constexpr size_t kMagicSize = 6;
constexpr size_t kHeaderMax = 65536;
constexpr size_t kDimensionsMax = 8;

absl::Status Bad(const std::string& what) { return absl::InvalidArgumentError(absl::StrCat(".npy: ", what)); }

uint64_t LittleEndian(const std::string& bytes, size_t at, int width) {
  uint64_t value = 0;
  for (int i = width - 1; i >= 0; --i) {
    value = value << 8 | static_cast<unsigned char>(bytes[at + static_cast<size_t>(i)]);
  }
  return value;
}

// The header is a Python dictionary of three known keys; nothing else of Python is read.
class HeaderReader {
 public:
  explicit HeaderReader(std::string text) : text_(std::move(text)) {}

  struct Header {
    std::string descr;
    bool fortran = false;
    std::vector<int64_t> shape;
  };

  absl::StatusOr<Header> Read() {
    Header header;
    bool descr = false, order = false, shape = false;
    BALLAST_RETURN_IF_ERROR(Expect('{'));
    while (!Take('}')) {
      BALLAST_ASSIGN_OR_RETURN(const std::string key, Quoted());
      BALLAST_RETURN_IF_ERROR(Expect(':'));
      if (key == "descr" && !descr) {
        BALLAST_ASSIGN_OR_RETURN(header.descr, Quoted());
        descr = true;
      } else if (key == "fortran_order" && !order) {
        BALLAST_ASSIGN_OR_RETURN(header.fortran, Boolean());
        order = true;
      } else if (key == "shape" && !shape) {
        BALLAST_ASSIGN_OR_RETURN(header.shape, Tuple());
        shape = true;
      } else {
        return Bad(absl::StrCat("header key '", absl::CEscape(key), "' is unknown or there twice"));
      }
      if (!Take(',')) {
        BALLAST_RETURN_IF_ERROR(Expect('}'));
        break;
      }
    }
    SkipSpace();
    if (at_ != text_.size()) return Bad("text after the header's dictionary");
    if (!descr || !order || !shape) return Bad("the header lacks descr, fortran_order or shape");
    return header;
  }

 private:
  void SkipSpace() {
    while (at_ < text_.size() && absl::ascii_isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  }
  bool Take(char c) {
    SkipSpace();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  absl::Status Expect(char c) {
    if (Take(c)) return absl::OkStatus();
    return Bad(absl::StrCat("header: found '", absl::CEscape(text_.substr(at_, 10)), "' at ", at_,
                            ", expected '", std::string(1, c), "'"));
  }
  absl::StatusOr<std::string> Quoted() {
    SkipSpace();
    const char quote = at_ < text_.size() ? text_[at_] : 0;
    if (quote != '\'' && quote != '"') return Bad(absl::StrCat("header: expected a quoted word at ", at_));
    const size_t end = text_.find(quote, at_ + 1);
    if (end == std::string::npos) return Bad("header: a quote is not closed");
    const std::string word = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return word;
  }
  absl::StatusOr<bool> Boolean() {
    SkipSpace();
    for (const bool value : {true, false}) {
      const std::string word = value ? "True" : "False";
      if (text_.compare(at_, word.size(), word) == 0) {
        at_ += word.size();
        return value;
      }
    }
    return Bad("header: fortran_order is neither True nor False");
  }
  absl::StatusOr<std::vector<int64_t>> Tuple() {
    std::vector<int64_t> values;
    BALLAST_RETURN_IF_ERROR(Expect('('));
    while (!Take(')')) {
      SkipSpace();
      size_t end = at_;
      while (end < text_.size() && absl::ascii_isdigit(static_cast<unsigned char>(text_[end]))) ++end;
      int64_t value = 0;
      if (!absl::SimpleAtoi(text_.substr(at_, end - at_), &value)) {
        return Bad(absl::StrCat("header: shape needs integers of 0 or more, found '",
                                absl::CEscape(text_.substr(at_, 10)), "'"));
      }
      at_ = end;
      values.push_back(value);
      if (values.size() > kDimensionsMax) {
        return Bad(absl::StrCat("more than ", kDimensionsMax, " dimensions"));
      }
      if (!Take(',')) {
        BALLAST_RETURN_IF_ERROR(Expect(')'));
        break;
      }
    }
    return values;
  }

  const std::string text_;
  size_t at_ = 0;
};

}  // namespace

absl::StatusOr<NpyArray> NpyArray::Parse(std::string bytes) {
  if (bytes.size() < kMagicSize + 4 || bytes.compare(0, kMagicSize, kMagic) != 0) {
    return Bad(absl::StrCat("not this format: ", bytes.size(), " bytes without its first bytes"));
  }
  const int major = static_cast<unsigned char>(bytes[kMagicSize]);
  if (major < 1 || major > 3) return Bad(absl::StrCat("found version ", major, ", allowed is 1..3"));
  const int length_width = major == 1 ? 2 : 4;
  const size_t header_at = kMagicSize + 2 + static_cast<size_t>(length_width);
  if (bytes.size() < header_at) return Bad("cut off in the header");
  const uint64_t length = LittleEndian(bytes, kMagicSize + 2, length_width);
  if (length > kHeaderMax || length > bytes.size() - header_at) {
    return Bad(absl::StrCat("header of ", length, " bytes in a file of ", bytes.size(),
                            ", allowed is at most ", kHeaderMax));
  }
  BALLAST_ASSIGN_OR_RETURN(const HeaderReader::Header header,
                           HeaderReader(bytes.substr(header_at, length)).Read());
  NpyArray array;
  const std::string& type = header.descr;
  const bool known = type.size() == 3 && (type[1] == 'i' || type[1] == 'u') &&
                     (type[2] == '1' || type[2] == '2' || type[2] == '4' || type[2] == '8') &&
                     (type[0] == '<' || (type[0] == '|' && type[2] == '1'));
  if (!known) {
    return Bad(absl::StrCat("found type '", absl::CEscape(type),
                            "', allowed are little-endian integers such as <u2, <i4, <i8"));
  }
  if (header.fortran) return Bad("found Fortran order, allowed is C order");
  array.is_signed_ = type[1] == 'i';
  array.width_ = type[2] - '0';
  array.shape_ = header.shape;
  array.data_ = header_at + length;
  const int64_t bytes_left = static_cast<int64_t>(bytes.size() - array.data_);
  array.size_ = 1;
  for (int64_t dimension : header.shape) {
    if (dimension > 0 && array.size_ > std::numeric_limits<int64_t>::max() / 8 / dimension) {
      return Bad("the shape overflows");
    }
    array.size_ *= dimension;
  }
  if (array.size_ * array.width_ != bytes_left) {
    return Bad(
        absl::StrCat("found ", bytes_left, " bytes of values, the shape needs ", array.size_ * array.width_));
  }
  array.bytes_ = std::move(bytes);
  return array;
}

absl::StatusOr<int64_t> NpyArray::At(int64_t index) const {
  BALLAST_CHECK(index >= 0 && index < size_) << index << " of " << size_;
  uint64_t value = LittleEndian(bytes_, data_ + static_cast<size_t>(index * width_), width_);
  if (is_signed_ && width_ < 8 && (value >> (8 * width_ - 1) & 1)) value |= ~uint64_t{0} << (8 * width_);
  if (!is_signed_ && value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return absl::OutOfRangeError(absl::StrCat(".npy: value ", index, ": found ", value,
                                              ", allowed is at most ", std::numeric_limits<int64_t>::max()));
  }
  return static_cast<int64_t>(value);
}

std::string NpyHeader(int value_bytes, const std::vector<int64_t>& shape) {
  std::string header = absl::StrCat("{'descr': '<u", value_bytes, "', 'fortran_order': False, 'shape': (");
  for (int64_t dimension : shape) absl::StrAppend(&header, dimension, ",");
  header += "), }";
  while ((kMagicSize + 4 + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  std::string bytes(kMagic, kMagicSize);
  bytes += '\x01';
  bytes += '\x00';
  bytes += static_cast<char>(header.size() & 0xff);
  bytes += static_cast<char>(header.size() >> 8);
  return bytes + header;
}

}  // namespace ballast
