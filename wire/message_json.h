// Protobuf messages as JSON and YAML for people and programs: the .proto's field names, numbers as numbers
// (64-bit ones too), enumerations and lists in the form that the strict reader takes.
#pragma once

#include <google/protobuf/message.h>

#include <nlohmann/json.hpp>
#include <string>

namespace ballast {

// Fields in the .proto's order, maps by key. All fields are there, so that the shape is stable, but for
// messages and `optional` fields that are not set. NaN and infinity, which JSON lacks, become null; bytes
// become hexadecimal text.
nlohmann::ordered_json ToJson(const google::protobuf::Message& message);

// Indented by two; ends with a line end. For all of ToJson's values.
std::string JsonText(const nlohmann::ordered_json& json);
// The same in YAML's block style; lists of scalars are written on one line.
std::string YamlText(const nlohmann::ordered_json& json);

}  // namespace ballast
