#include "worker/checkpoint/json.h"

#include <set>
#include <vector>

#include "absl/strings/str_cat.h"

namespace ballast {
namespace {

constexpr int kDepthMax = 32;

const nlohmann::json& Nothing() {
  static const nlohmann::json nothing;
  return nothing;
}
const nlohmann::json& NoList() {
  static const nlohmann::json list = nlohmann::json::array();
  return list;
}

std::string Shown(const nlohmann::json& value) {
  if (value.is_object() || value.is_array()) return value.type_name();
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).substr(0, 60);
}

}  // namespace

absl::StatusOr<nlohmann::json> ParseObject(std::string_view text, const std::string& file) {
  using Event = nlohmann::json::parse_event_t;
  std::vector<std::set<std::string>> keys;
  std::string twice;
  bool deep = false;
  const nlohmann::json::parser_callback_t look = [&](int depth, Event event, nlohmann::json& value) {
    deep = deep || depth > kDepthMax;
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key && !keys.back().insert(value.get<std::string>()).second && twice.empty())
      twice = value.get<std::string>();
    return true;
  };
  nlohmann::json document = nlohmann::json::parse(text.begin(), text.end(), look, /*allow_exceptions=*/false);
  if (document.is_discarded()) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": found ", text.size(), " bytes that are no JSON"));
  }
  if (deep)
    return absl::InvalidArgumentError(absl::StrCat(file, ": nested deeper than ", kDepthMax, " levels"));
  if (!twice.empty()) return absl::InvalidArgumentError(absl::StrCat(file, ": found \"", twice, "\" twice"));
  if (!document.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": found ", document.type_name(), ", allowed an object"));
  }
  return document;
}

void JsonReader::Complain(const std::string& path, const std::string& text) {
  if (status_.ok()) status_ = absl::InvalidArgumentError(absl::StrCat(file_, ": ", path, ": ", text));
}

const nlohmann::json& JsonReader::Member(const nlohmann::json& object, const std::string& name) {
  if (object.is_object()) {
    auto it = object.find(name);
    if (it != object.end()) return *it;
  }
  Complain(name, "found nothing");
  return Nothing();
}

int64_t JsonReader::Whole(const nlohmann::json& object, const std::string& name, int64_t low, int64_t high) {
  const nlohmann::json& value = Member(object, name);
  const bool fits = value.is_number_unsigned()
                        ? value.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())
                        : value.is_number_integer();
  if (fits && value.get<int64_t>() >= low && value.get<int64_t>() <= high) return value.get<int64_t>();
  Complain(name, absl::StrCat("found ", Shown(value), ", allowed ", low, "..", high));
  return low;
}

double JsonReader::Real(const nlohmann::json& object, const std::string& name) {
  const nlohmann::json& value = Member(object, name);
  if (value.is_number()) return value.get<double>();
  Complain(name, absl::StrCat("found ", Shown(value), ", allowed a number"));
  return 0;
}

std::string JsonReader::Text(const nlohmann::json& object, const std::string& name) {
  const nlohmann::json& value = Member(object, name);
  if (value.is_string()) return value.get<std::string>();
  Complain(name, absl::StrCat("found ", Shown(value), ", allowed a text"));
  return "";
}

const nlohmann::json& JsonReader::List(const nlohmann::json& object, const std::string& name) {
  const nlohmann::json& value = Member(object, name);
  if (value.is_array()) return value;
  Complain(name, absl::StrCat("found ", Shown(value), ", allowed a list"));
  return NoList();
}

}  // namespace ballast
