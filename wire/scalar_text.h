// Scalars of the strict reader: text to number, with what is allowed in the error.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "wire/source.h"

namespace ballast {

// Text as errors show it: on one line, and cut when it is long.
std::string ShownText(const std::string& text);

// The scalar as errors show it: `nothing`, `9`, `the text "9"`, `a list`, `a map`.
std::string DescribeFound(const SourceNode& node);

// Whether plain text reads as a number of YAML or JSON in some way (7, 0x10, 1e3, .inf, nan): such text is
// never taken for a string.
bool LooksLikeNumber(const std::string& text);

// Errors: InvalidArgument "found 9.5, allowed a whole number", "found 3000000000, allowed
// -2147483648..2147483647".
absl::StatusOr<int64_t> ReadInteger(const SourceNode& node, int64_t low, int64_t high);
absl::StatusOr<uint64_t> ReadUnsigned(const SourceNode& node, uint64_t high);
absl::StatusOr<double> ReadDouble(const SourceNode& node);
absl::StatusOr<bool> ReadBool(const SourceNode& node);
// Text in quotes, or plain text that is neither a number nor true or false; without control characters.
absl::StatusOr<std::string> ReadText(const SourceNode& node);

}  // namespace ballast
