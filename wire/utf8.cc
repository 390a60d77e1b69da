#include "wire/utf8.h"

#include "base/check.h"

namespace ballast {
namespace {

// Length of the valid sequence at `i`; 0 = none.
size_t SequenceLength(const std::string& text, size_t i) {
  auto byte = [&](size_t k) -> unsigned { return k < text.size() ? static_cast<unsigned char>(text[k]) : 0; };
  auto tail = [&](size_t k) { return (byte(k) & 0xc0) == 0x80; };
  unsigned first = byte(i), second = byte(i + 1);
  if (first < 0x80) return 1;
  if (first < 0xc2) return 0;
  if (first < 0xe0) return tail(i + 1) ? 2 : 0;
  if (first < 0xf0) {
    if (!tail(i + 1) || !tail(i + 2)) return 0;
    if (first == 0xe0 && second < 0xa0) return 0;   // overlong
    if (first == 0xed && second >= 0xa0) return 0;  // a surrogate
    return 3;
  }
  if (first < 0xf5) {
    if (!tail(i + 1) || !tail(i + 2) || !tail(i + 3)) return 0;
    if (first == 0xf0 && second < 0x90) return 0;   // overlong
    if (first == 0xf4 && second >= 0x90) return 0;  // above U+10FFFF
    return 4;
  }
  return 0;
}

}  // namespace

size_t FirstInvalidUtf8(const std::string& text) {
  for (size_t i = 0; i < text.size();) {
    size_t length = SequenceLength(text, i);
    if (length == 0) return i;
    i += length;
  }
  return std::string::npos;
}

void AppendUtf8(uint32_t c, std::string* out) {
  BALLAST_CHECK(c <= 0x10ffff && (c < 0xd800 || c > 0xdfff)) << "code point " << c;
  auto put = [out](uint32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xc0 | c >> 6);
    put(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    put(0xe0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3f));
    put(0x80 | (c & 0x3f));
  } else {
    put(0xf0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3f));
    put(0x80 | (c >> 6 & 0x3f));
    put(0x80 | (c & 0x3f));
  }
}

}  // namespace ballast
