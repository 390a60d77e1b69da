#include "wire/scalar_text.h"

#include <charconv>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace ballast {
namespace {

constexpr size_t kShownBytesMax = 40;

absl::Status Refused(const SourceNode& node, const std::string& allowed) {
  return absl::InvalidArgumentError(absl::StrCat("found ", DescribeFound(node), ", allowed ", allowed));
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// -?(0|[1-9][0-9]*)
bool IsWholeNumber(const std::string& text) {
  size_t i = !text.empty() && text[0] == '-' ? 1 : 0;
  if (i >= text.size() || (text[i] == '0' && text.size() > i + 1)) return false;
  for (; i < text.size(); ++i) {
    if (!IsDigit(text[i])) return false;
  }
  return true;
}

// A whole number, then optionally a fraction and an exponent, as in JSON.
bool IsDecimal(const std::string& text) {
  size_t end = text.find_first_of(".eE");
  if (!IsWholeNumber(text.substr(0, end))) return false;
  if (end == std::string::npos) return true;
  size_t i = end;
  auto digits = [&] {
    size_t begin = i;
    while (i < text.size() && IsDigit(text[i])) ++i;
    return i > begin;
  };
  if (text[i] == '.') {
    ++i;
    if (!digits()) return false;
  }
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
    if (!digits()) return false;
  }
  return i == text.size();
}

}  // namespace

std::string ShownText(const std::string& text) {
  std::string shown = text;
  if (shown.size() > kShownBytesMax) {
    // Cut at a character's begin, so that what is shown stays UTF-8.
    size_t end = kShownBytesMax;
    while (end > 0 && (static_cast<unsigned char>(shown[end]) & 0xc0) == 0x80) --end;
    shown = shown.substr(0, end) + "...";
  }
  for (char& c : shown) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) c = ' ';
  }
  return shown;
}

std::string DescribeFound(const SourceNode& node) {
  std::string shown = ShownText(node.text);
  switch (node.kind) {
    case SourceNode::Kind::kNull:
      return "nothing";
    case SourceNode::Kind::kPlain:
      return shown;
    case SourceNode::Kind::kQuoted:
      return absl::StrCat("the text \"", shown, "\"");
    case SourceNode::Kind::kList:
      return "a list";
    case SourceNode::Kind::kMap:
      return "a map";
  }
  return "";
}

bool LooksLikeNumber(const std::string& text) {
  size_t i = !text.empty() && (text[0] == '-' || text[0] == '+') ? 1 : 0;
  std::string rest = absl::AsciiStrToLower(text.substr(i));
  if (rest == ".inf" || rest == "inf" || rest == "infinity" || rest == ".nan" || rest == "nan") return true;
  if (rest.empty() || !(IsDigit(rest[0]) || (rest[0] == '.' && rest.size() > 1 && IsDigit(rest[1]))))
    return false;
  if (rest.size() > 2 && rest[0] == '0' && (rest[1] == 'x' || rest[1] == 'o')) {
    return rest.find_first_not_of("0123456789abcdef_", 2) == std::string::npos;
  }
  double value = 0;
  auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  return error != std::errc::invalid_argument && end == rest.data() + rest.size();
}

absl::StatusOr<int64_t> ReadInteger(const SourceNode& node, int64_t low, int64_t high) {
  if (node.kind != SourceNode::Kind::kPlain || !IsWholeNumber(node.text))
    return Refused(node, "a whole number");
  int64_t value = 0;
  auto [end, error] = std::from_chars(node.text.data(), node.text.data() + node.text.size(), value);
  if (error != std::errc() || value < low || value > high)
    return Refused(node, absl::StrCat(low, "..", high));
  return value;
}

absl::StatusOr<uint64_t> ReadUnsigned(const SourceNode& node, uint64_t high) {
  if (node.kind != SourceNode::Kind::kPlain || !IsWholeNumber(node.text))
    return Refused(node, "a whole number");
  uint64_t value = 0;
  auto [end, error] = std::from_chars(node.text.data(), node.text.data() + node.text.size(), value);
  if (error != std::errc() || value > high) return Refused(node, absl::StrCat("0..", high));
  return value;
}

absl::StatusOr<double> ReadDouble(const SourceNode& node) {
  static const std::string kAllowed = "a number such as 0.1 or 1e-5";
  if (node.kind != SourceNode::Kind::kPlain || !IsDecimal(node.text)) return Refused(node, kAllowed);
  double value = 0;
  auto [end, error] = std::from_chars(node.text.data(), node.text.data() + node.text.size(), value);
  if (error == std::errc::result_out_of_range || !std::isfinite(value)) {
    return Refused(node, "a number that a double can hold");
  }
  return value;
}

absl::StatusOr<bool> ReadBool(const SourceNode& node) {
  if (node.kind == SourceNode::Kind::kPlain && node.text == "true") return true;
  if (node.kind == SourceNode::Kind::kPlain && node.text == "false") return false;
  return Refused(node, "true or false");
}

absl::StatusOr<std::string> ReadText(const SourceNode& node) {
  if (node.kind == SourceNode::Kind::kPlain) {
    if (LooksLikeNumber(node.text) || node.text == "true" || node.text == "false") {
      return Refused(node, absl::StrCat("text (in quotes: \"", node.text, "\")"));
    }
  } else if (node.kind != SourceNode::Kind::kQuoted) {
    return Refused(node, "text");
  }
  for (char c : node.text) {
    unsigned char byte = c;
    if ((byte < 0x20 && byte != '\t' && byte != '\n') || byte == 0x7f) {
      return absl::InvalidArgumentError(
          absl::StrFormat("found control character 0x%02x, allowed printable text", byte));
    }
  }
  return node.text;
}

}  // namespace ballast
