#include "wire/field_checker.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "wire/scalar_text.h"

namespace ballast {
namespace {

constexpr size_t kNameBytesMax = 63;

std::string Because(const std::string& why) { return why.empty() ? "" : absl::StrCat(" (", why, ")"); }

std::string Describe(const WholeRange& range) {
  return absl::StrCat(range.low, "..", range.high, Because(range.why));
}

std::string Describe(const RealRange& range) {
  std::string low = absl::StrCat(range.low_open ? "more than " : "at least ", ShortestDouble(range.low));
  std::string high = absl::StrCat(range.high_open ? "less than " : "at most ", ShortestDouble(range.high));
  return absl::StrCat(low, " and ", high, Because(range.why));
}

bool IsName(const std::string& text) {
  auto is_inner = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  };
  auto is_end = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !text.empty() && text.size() <= kNameBytesMax && is_end(text.front()) && is_end(text.back()) &&
         std::all_of(text.begin(), text.end(), is_inner);
}

}  // namespace

std::string ShortestDouble(double value) {
  char buffer[32];
  auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, value);
  return std::string(buffer, end);
}

void FieldChecker::Require(bool holds, const std::string& path, const std::string& text) {
  if (!holds && ok()) status_ = absl::InvalidArgumentError(absl::StrCat(path, ": ", text));
}

int64_t FieldChecker::Whole(const std::string& path, std::optional<int64_t> value, const WholeRange& range,
                            std::optional<int64_t> fallback) {
  if (!value.has_value()) value = fallback;
  std::string found = value.has_value() ? absl::StrCat(*value) : "nothing";
  bool holds = value.has_value() && *value >= range.low && *value <= range.high;
  Require(holds, path, absl::StrCat("found ", found, ", allowed ", Describe(range)));
  return holds ? *value : range.low;
}

double FieldChecker::Real(const std::string& path, std::optional<double> value, const RealRange& range,
                          std::optional<double> fallback) {
  if (!value.has_value()) value = fallback;
  std::string found = value.has_value() ? ShortestDouble(*value) : "nothing";
  bool holds = value.has_value() && std::isfinite(*value) && *value >= range.low && *value <= range.high &&
               !(range.low_open && *value == range.low) && !(range.high_open && *value == range.high);
  Require(holds, path, absl::StrCat("found ", found, ", allowed ", Describe(range)));
  return holds ? *value : range.low;
}

std::string FieldChecker::Text(const std::string& path, const std::optional<std::string>& value,
                               std::optional<std::string> fallback) {
  std::string text = value.has_value() ? *value : fallback.value_or("");
  Require(!text.empty(), path,
          absl::StrCat("found ", value.has_value() ? "an empty text" : "nothing", ", allowed text"));
  return text;
}

std::string FieldChecker::Choice(const std::string& path, const std::optional<std::string>& value,
                                 const std::vector<std::string>& choices,
                                 std::optional<std::string> fallback) {
  std::string text = Text(path, value, std::move(fallback));
  bool known = choices.empty() || std::find(choices.begin(), choices.end(), text) != choices.end();
  Require(known, path, absl::StrCat("found ", ShownText(text), ", allowed ", absl::StrJoin(choices, ", ")));
  return text;
}

std::string FieldChecker::Name(const std::string& path, const std::optional<std::string>& value) {
  std::string found = value.has_value() ? absl::StrCat("\"", ShownText(*value), "\"") : "nothing";
  Require(value.has_value() && IsName(*value), path,
          absl::StrCat("found ", found, ", allowed a name: 1 to ", kNameBytesMax,
                       " of a-z, 0-9, '-', '_' and '.', beginning and ending with a letter or digit"));
  return value.value_or("");
}

}  // namespace ballast
