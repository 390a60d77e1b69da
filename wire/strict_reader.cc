#include "wire/strict_reader.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "ballast/v1/types.pb.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "wire/scalar_text.h"

namespace ballast {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

std::string Join(const std::string& path, const std::string& name) {
  return path.empty() ? name : absl::StrCat(path, ".", name);
}

// Walks tree and descriptor side by side. The depth is bounded by the tree's.
class Reader {
 public:
  explicit Reader(const std::string& file) : positions_(file) {}

  absl::Status ReadMessage(const SourceNode& node, const std::string& path, Message* message);
  FieldPositions TakePositions() { return std::move(positions_); }
  void Place(const std::string& path, SourcePosition at) { positions_.Add(path, at); }

 private:
  absl::Status ReadField(const SourceNode& node, const std::string& path, const FieldDescriptor* field,
                         Message* message);
  absl::Status ReadList(const SourceNode& node, const std::string& path, const FieldDescriptor* field,
                        Message* message);
  absl::Status ReadMap(const SourceNode& node, const std::string& path, const FieldDescriptor* field,
                       Message* message);
  absl::Status ReadScalar(const SourceNode& node, const std::string& path, const FieldDescriptor* field,
                          Message* message);
  absl::Status UnknownField(const SourceEntry& entry, const std::string& path,
                            const Descriptor* descriptor) const;

  absl::Status Error(const SourceNode& node, const std::string& path, const std::string& text) const {
    // The key's place says more than the value's; the value's own is for what has no key.
    SourcePosition at = path.empty() ? node.at : positions_.Find(path);
    return SourceError(positions_.file(), at, path.empty() ? text : absl::StrCat(path, ": ", text));
  }

  FieldPositions positions_;
};

absl::Status Reader::ReadMessage(const SourceNode& node, const std::string& path, Message* message) {
  const Descriptor* descriptor = message->GetDescriptor();
  if (IsWrittenAsList(*descriptor)) return ReadList(node, path, descriptor->field(0), message);
  if (node.kind != SourceNode::Kind::kMap) {
    std::string allowed = path.empty() ? "a map of fields" : "a map";
    return Error(node, path, absl::StrCat("found ", DescribeFound(node), ", allowed ", allowed));
  }
  for (const SourceEntry& entry : node.entries) {
    std::string field_path = Join(path, entry.key);
    const FieldDescriptor* field = descriptor->FindFieldByName(entry.key);
    if (field == nullptr) return UnknownField(entry, path, descriptor);
    Place(field_path, entry.at);
    BALLAST_RETURN_IF_ERROR(ReadField(entry.value, field_path, field, message));
  }
  return absl::OkStatus();
}

absl::Status Reader::UnknownField(const SourceEntry& entry, const std::string& path,
                                  const Descriptor* descriptor) const {
  std::vector<std::string> names;
  std::string meant;
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const std::string& name = descriptor->field(i)->name();
    names.push_back(name);
    if (entry.key == descriptor->field(i)->camelcase_name()) meant = absl::StrCat("; write ", name);
  }
  SourceNode key;
  key.kind = SourceNode::Kind::kPlain;
  key.text = entry.key;
  return SourceError(positions_.file(), entry.at,
                     absl::StrCat(Join(path, DescribeFound(key)), ": unknown field", meant,
                                  "; there are: ", absl::StrJoin(names, ", ")));
}

absl::Status Reader::ReadField(const SourceNode& node, const std::string& path, const FieldDescriptor* field,
                               Message* message) {
  if (field->is_map()) return ReadMap(node, path, field, message);
  if (field->is_repeated()) return ReadList(node, path, field, message);
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    return ReadMessage(node, path, message->GetReflection()->MutableMessage(message, field));
  }
  return ReadScalar(node, path, field, message);
}

absl::Status Reader::ReadList(const SourceNode& node, const std::string& path, const FieldDescriptor* field,
                              Message* message) {
  if (node.kind != SourceNode::Kind::kList) {
    return Error(node, path, absl::StrCat("found ", DescribeFound(node), ", allowed a list"));
  }
  for (size_t i = 0; i < node.items.size(); ++i) {
    std::string item_path = absl::StrCat(path, "[", i, "]");
    const SourceNode& item = node.items[i];
    Place(item_path, item.at);
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      BALLAST_RETURN_IF_ERROR(
          ReadMessage(item, item_path, message->GetReflection()->AddMessage(message, field)));
    } else {
      BALLAST_RETURN_IF_ERROR(ReadScalar(item, item_path, field, message));
    }
  }
  return absl::OkStatus();
}

absl::Status Reader::ReadMap(const SourceNode& node, const std::string& path, const FieldDescriptor* field,
                             Message* message) {
  if (node.kind != SourceNode::Kind::kMap) {
    return Error(node, path, absl::StrCat("found ", DescribeFound(node), ", allowed a map"));
  }
  const FieldDescriptor* key = field->message_type()->map_key();
  BALLAST_CHECK(key->cpp_type() == FieldDescriptor::CPPTYPE_STRING) << field->full_name();
  for (const SourceEntry& entry : node.entries) {
    std::string value_path = Join(path, entry.key);
    Place(value_path, entry.at);
    SourceNode quoted_key;
    quoted_key.kind = SourceNode::Kind::kQuoted;
    quoted_key.text = entry.key;
    auto text = ReadText(quoted_key);
    if (!text.ok()) return Error(node, path, absl::StrCat("a key: ", std::string(text.status().message())));
    Message* map_entry = message->GetReflection()->AddMessage(message, field);
    map_entry->GetReflection()->SetString(map_entry, key, *text);
    BALLAST_RETURN_IF_ERROR(
        ReadField(entry.value, value_path, field->message_type()->map_value(), map_entry));
  }
  return absl::OkStatus();
}

// The value named by `text`, or null.
const EnumValueDescriptor* FindEnumValue(const EnumDescriptor* type, const std::string& text) {
  for (int i = 0; i < type->value_count(); ++i) {
    if (EnumText(*type->value(i)) == text) return type->value(i);
  }
  return nullptr;
}

std::string EnumChoices(const EnumDescriptor* type) {
  std::vector<std::string> names;
  for (int i = 0; i < type->value_count(); ++i) {
    if (type->value(i)->number() != 0 || EnumText(*type->value(i)) != "unspecified")
      names.push_back(EnumText(*type->value(i)));
  }
  return absl::StrJoin(names, ", ");
}

absl::Status Reader::ReadScalar(const SourceNode& node, const std::string& path, const FieldDescriptor* field,
                                Message* message) {
  const Reflection* reflection = message->GetReflection();
  bool add = field->is_repeated();
  auto refuse = [&](const absl::Status& status) { return Error(node, path, std::string(status.message())); };
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32: {
      auto value =
          ReadInteger(node, std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max());
      if (!value.ok()) return refuse(value.status());
      int32_t narrow = static_cast<int32_t>(*value);
      add ? reflection->AddInt32(message, field, narrow) : reflection->SetInt32(message, field, narrow);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_INT64: {
      auto value =
          ReadInteger(node, std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max());
      if (!value.ok()) return refuse(value.status());
      add ? reflection->AddInt64(message, field, *value) : reflection->SetInt64(message, field, *value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_UINT32: {
      auto value = ReadUnsigned(node, std::numeric_limits<uint32_t>::max());
      if (!value.ok()) return refuse(value.status());
      uint32_t narrow = static_cast<uint32_t>(*value);
      add ? reflection->AddUInt32(message, field, narrow) : reflection->SetUInt32(message, field, narrow);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_UINT64: {
      auto value = ReadUnsigned(node, std::numeric_limits<uint64_t>::max());
      if (!value.ok()) return refuse(value.status());
      add ? reflection->AddUInt64(message, field, *value) : reflection->SetUInt64(message, field, *value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_DOUBLE: {
      auto value = ReadDouble(node);
      if (!value.ok()) return refuse(value.status());
      add ? reflection->AddDouble(message, field, *value) : reflection->SetDouble(message, field, *value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_BOOL: {
      auto value = ReadBool(node);
      if (!value.ok()) return refuse(value.status());
      add ? reflection->AddBool(message, field, *value) : reflection->SetBool(message, field, *value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_STRING: {
      BALLAST_CHECK(field->type() == FieldDescriptor::TYPE_STRING)
          << field->full_name() << " has no text form";
      auto value = ReadText(node);
      if (!value.ok()) return refuse(value.status());
      add ? reflection->AddString(message, field, *value) : reflection->SetString(message, field, *value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_ENUM: {
      const EnumValueDescriptor* value =
          node.kind == SourceNode::Kind::kPlain || node.kind == SourceNode::Kind::kQuoted
              ? FindEnumValue(field->enum_type(), node.text)
              : nullptr;
      if (value == nullptr || EnumText(*value) == "unspecified") {
        return Error(
            node, path,
            absl::StrCat("found ", DescribeFound(node), ", allowed ", EnumChoices(field->enum_type())));
      }
      add ? reflection->AddEnum(message, field, value) : reflection->SetEnum(message, field, value);
      return absl::OkStatus();
    }
    default:
      BALLAST_CHECK(false) << field->full_name() << " is of a type that files have no form for";
      return absl::OkStatus();
  }
}

}  // namespace

SourcePosition FieldPositions::Find(const std::string& path) const {
  std::string rest = path;
  while (true) {
    auto it = positions_.find(rest);
    if (it != positions_.end()) return it->second;
    size_t cut = rest.find_last_of(".[");
    if (cut == std::string::npos) break;
    rest.resize(cut);
  }
  auto root = positions_.find("");
  return root == positions_.end() ? SourcePosition{} : root->second;
}

absl::Status FieldPositions::Locate(const absl::Status& status) const {
  if (status.ok()) return status;
  std::string message(status.message());
  std::string path = message.substr(0, message.find(": "));
  bool is_path = message.size() > path.size() && path.find(' ') == std::string::npos;
  if (!is_path) return absl::Status(status.code(), absl::StrCat(file_, ": ", message));
  SourcePosition at = Find(path);
  return absl::Status(status.code(), absl::StrCat(file_, ":", at.line, ":", at.column, ": ", message));
}

absl::StatusOr<FieldPositions> ReadStrict(const SourceText& source, Message* message) {
  BALLAST_ASSIGN_OR_RETURN(SourceNode root, ParseSource(source));
  if (root.kind == SourceNode::Kind::kNull) return SourceError(source.name, {}, "the file is empty");
  Reader reader(source.name);
  reader.Place("", root.at);
  BALLAST_RETURN_IF_ERROR(reader.ReadMessage(root, "", message));
  return reader.TakePositions();
}

std::string EnumText(const EnumValueDescriptor& value) {
  // SplitKind -> SPLIT_KIND_
  std::string prefix;
  for (char c : value.type()->name()) {
    if (absl::ascii_isupper(c) && !prefix.empty()) prefix.push_back('_');
    prefix.push_back(absl::ascii_toupper(c));
  }
  prefix.push_back('_');
  const std::string& name = value.name();
  bool prefixed = name.compare(0, prefix.size(), prefix) == 0;
  std::string text = prefixed ? name.substr(prefix.size()) : name;
  return value.type()->options().GetExtension(v1::written_in_capitals) ? text : absl::AsciiStrToLower(text);
}

bool IsWrittenAsList(const Descriptor& descriptor) {
  return descriptor.options().GetExtension(v1::written_as_list);
}

}  // namespace ballast
