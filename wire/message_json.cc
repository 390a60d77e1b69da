#include "wire/message_json.h"

#include <google/protobuf/descriptor.h>

#include <cmath>
#include <map>

#include "absl/strings/escaping.h"
#include "base/check.h"
#include "wire/strict_reader.h"

namespace ballast {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using nlohmann::ordered_json;

ordered_json Real(double value) { return std::isfinite(value) ? ordered_json(value) : ordered_json(nullptr); }

ordered_json Text(const FieldDescriptor* field, const std::string& value) {
  return field->type() == FieldDescriptor::TYPE_BYTES ? absl::BytesToHexString(value) : value;
}

// The value of a singular field, or element `index` of a repeated one (-1: singular).
ordered_json ValueOf(const Message& message, const FieldDescriptor* field, int index) {
  const Reflection* r = message.GetReflection();
  const bool one = index < 0;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return one ? r->GetInt32(message, field) : r->GetRepeatedInt32(message, field, index);
    case FieldDescriptor::CPPTYPE_INT64:
      return one ? r->GetInt64(message, field) : r->GetRepeatedInt64(message, field, index);
    case FieldDescriptor::CPPTYPE_UINT32:
      return one ? r->GetUInt32(message, field) : r->GetRepeatedUInt32(message, field, index);
    case FieldDescriptor::CPPTYPE_UINT64:
      return one ? r->GetUInt64(message, field) : r->GetRepeatedUInt64(message, field, index);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return Real(one ? r->GetDouble(message, field) : r->GetRepeatedDouble(message, field, index));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return Real(one ? r->GetFloat(message, field) : r->GetRepeatedFloat(message, field, index));
    case FieldDescriptor::CPPTYPE_BOOL:
      return one ? r->GetBool(message, field) : r->GetRepeatedBool(message, field, index);
    case FieldDescriptor::CPPTYPE_ENUM:
      return EnumText(one ? *r->GetEnum(message, field) : *r->GetRepeatedEnum(message, field, index));
    case FieldDescriptor::CPPTYPE_STRING:
      return Text(field, one ? r->GetString(message, field) : r->GetRepeatedString(message, field, index));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return ToJson(one ? r->GetMessage(message, field) : r->GetRepeatedMessage(message, field, index));
  }
  return nullptr;
}

ordered_json List(const Message& message, const FieldDescriptor* field) {
  ordered_json list = ordered_json::array();
  int size = message.GetReflection()->FieldSize(message, field);
  for (int i = 0; i < size; ++i) list.push_back(ValueOf(message, field, i));
  return list;
}

// Protobuf's maps have no order; the output has.
ordered_json Map(const Message& message, const FieldDescriptor* field) {
  std::map<std::string, ordered_json> sorted;
  int size = message.GetReflection()->FieldSize(message, field);
  for (int i = 0; i < size; ++i) {
    const Message& entry = message.GetReflection()->GetRepeatedMessage(message, field, i);
    std::string key = entry.GetReflection()->GetString(entry, field->message_type()->map_key());
    sorted[key] = ValueOf(entry, field->message_type()->map_value(), -1);
  }
  ordered_json map = ordered_json::object();
  for (auto& [key, value] : sorted) map[key] = std::move(value);
  return map;
}

// ---- YAML ----

// Text that every YAML reader takes for text without quotes.
bool IsPlain(const std::string& text) {
  if (text.empty() || text.size() > 200) return false;
  for (char c : text) {
    bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
              c == '-' || c == '.' || c == '/';
    if (!ok) return false;
  }
  bool letter_first = (text[0] >= 'a' && text[0] <= 'z') || (text[0] >= 'A' && text[0] <= 'Z');
  static const char* const kWords[] = {"true", "false", "null", "yes", "no",  "on",
                                       "off",  "y",     "n",    "nan", "inf", "infinity"};
  std::string lower;
  for (char c : text) lower.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c);
  for (const char* word : kWords) {
    if (lower == word) return false;
  }
  return letter_first;
}

// A JSON text is a YAML one in double quotes.
std::string ScalarText(const ordered_json& value) {
  if (value.is_string() && IsPlain(value.get<std::string>())) return value.get<std::string>();
  return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

bool IsScalarList(const ordered_json& value) {
  if (!value.is_array()) return false;
  for (const ordered_json& item : value) {
    if (item.is_structured() && !item.empty()) return false;
  }
  return true;
}

std::string InlineText(const ordered_json& value) {
  if (value.is_object()) return "{}";
  if (!value.is_array()) return ScalarText(value);
  std::string out = "[";
  for (const ordered_json& item : value) out += (out.size() > 1 ? ", " : "") + InlineText(item);
  return out + "]";
}

bool IsInline(const ordered_json& value) {
  return !value.is_structured() || value.empty() || IsScalarList(value);
}

void Block(const ordered_json& value, const std::string& indent, std::string* out);

// `lead` stands before the first line: "" after an indent, or the "- " of a list.
void BlockMap(const ordered_json& map, const std::string& indent, std::string lead, std::string* out) {
  for (const auto& [key, value] : map.items()) {
    *out += (lead.empty() ? indent : lead) + ScalarText(ordered_json(key)) + ":";
    lead.clear();
    if (IsInline(value)) {
      *out += " " + InlineText(value) + "\n";
    } else {
      *out += "\n";
      Block(value, indent + "  ", out);
    }
  }
}

void Block(const ordered_json& value, const std::string& indent, std::string* out) {
  if (value.is_object()) return BlockMap(value, indent, "", out);
  for (const ordered_json& item : value) {
    if (IsInline(item)) {
      *out += indent + "- " + InlineText(item) + "\n";
    } else if (item.is_object()) {
      BlockMap(item, indent + "  ", indent + "- ", out);
    } else {
      *out += indent + "-\n";
      Block(item, indent + "  ", out);
    }
  }
}

}  // namespace

ordered_json ToJson(const Message& message) {
  const google::protobuf::Descriptor* descriptor = message.GetDescriptor();
  if (IsWrittenAsList(*descriptor)) return List(message, descriptor->field(0));
  ordered_json out = ordered_json::object();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor* field = descriptor->field(i);
    if (field->is_map()) {
      out[field->name()] = Map(message, field);
    } else if (field->is_repeated()) {
      out[field->name()] = List(message, field);
    } else if (!field->has_presence() || message.GetReflection()->HasField(message, field)) {
      out[field->name()] = ValueOf(message, field, -1);
    }
  }
  return out;
}

std::string JsonText(const ordered_json& json) {
  return json.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

std::string YamlText(const ordered_json& json) {
  if (IsInline(json)) return InlineText(json) + "\n";
  std::string out;
  Block(json, "", &out);
  return out;
}

}  // namespace ballast
