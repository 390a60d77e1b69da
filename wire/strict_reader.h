// Reads YAML or JSON into any protobuf message by its descriptor, strictly, and remembers where every field
// stood.
//
// Fields have the .proto's own names (snake_case). Refused, each with the path of the field, what was found
// and what is allowed: unknown fields, duplicate keys, quoted numbers, NaN and infinity, wrong types,
// integers out of range, null. Enumerations are written in lower case without their prefix (`even` for
// SPLIT_KIND_EVEN); messages marked `written_as_list` are plain lists.
#pragma once

#include <google/protobuf/message.h>

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "wire/source.h"

namespace ballast {

// Where the fields of one file stand. Paths read "model.moe.top_k", "layers[0].hosts[2][1]",
// "data.mixture[1].weights.cpp".
class FieldPositions {
 public:
  FieldPositions() = default;
  explicit FieldPositions(std::string file) : file_(std::move(file)) {}

  void Add(const std::string& path, SourcePosition at) { positions_[path] = at; }
  // Of the field, or of the nearest one around it that is in the file ("" is the file itself).
  SourcePosition Find(const std::string& path) const;
  // `status` is an error whose message begins with "PATH: " (as all validation errors do): the same with
  // "FILE:LINE:COL: " before it. Other messages get "FILE: ". OK stays OK.
  absl::Status Locate(const absl::Status& status) const;
  const std::string& file() const { return file_; }

 private:
  std::string file_;
  std::map<std::string, SourcePosition> positions_;  // of the key for fields of a map, else of the value
};

// Fills `message`, which must be empty. After an error its content is unspecified.
absl::StatusOr<FieldPositions> ReadStrict(const SourceText& source, google::protobuf::Message* message);

// "even" for SPLIT_KIND_EVEN: the value's name without the enumeration's prefix, in lower case unless the
// enumeration is marked `written_in_capitals`.
std::string EnumText(const google::protobuf::EnumValueDescriptor& value);

// Whether the message is shown as its one list, by the option `written_as_list`.
bool IsWrittenAsList(const google::protobuf::Descriptor& descriptor);

}  // namespace ballast
