// Text that people write, as a tree with positions: the common ground of YAML and JSON below the strict
// reader.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ballast {

// Bounds on what is read; beyond them a file is refused, not truncated.
inline constexpr size_t kSourceBytesMax = 4 << 20;
inline constexpr int kSourceDepthMax = 32;

// A file's text and the name it has in errors.
struct SourceText {
  std::string name;
  std::string text;
};

struct SourcePosition {
  int line = 1;    // from 1
  int column = 1;  // from 1, in bytes
  friend bool operator==(const SourcePosition&, const SourcePosition&) = default;
};

struct SourceEntry;

// One value. YAML's anchors, aliases and tags never get this far: the parsers refuse them.
struct SourceNode {
  enum class Kind {
    kNull,    // nothing, null or ~
    kPlain,   // a scalar without quotes: a number, true, false or (YAML alone) text
    kQuoted,  // text in quotes, or a YAML block scalar
    kList,
    kMap,
  };
  Kind kind = Kind::kNull;
  SourcePosition at;
  std::string text;                  // of scalars
  std::vector<SourceNode> items;     // of kList
  std::vector<SourceEntry> entries;  // of kMap, in the file's order; keys are unique
};

struct SourceEntry {
  std::string key;
  SourcePosition at;  // of the key
  SourceNode value;
};

// The file's one document. JSON when the name ends in .json, or when it does not end in .yaml or .yml and the
// first character is '{' or '['; else YAML. Errors are InvalidArgument, "FILE:LINE:COL: ...": too large, too
// deep, not UTF-8, a syntax error ("syntax error at line LINE: ..."), no or several documents, a duplicate
// key, an anchor, alias or tag.
absl::StatusOr<SourceNode> ParseSource(const SourceText& source);

// The two halves of ParseSource, for text that is already known to be UTF-8.
absl::StatusOr<SourceNode> ParseYaml(const SourceText& source);
absl::StatusOr<SourceNode> ParseJson(const SourceText& source);

// The whole file; "-" is standard input. NotFound, PermissionDenied or InvalidArgument (a folder, too large).
absl::StatusOr<SourceText> ReadSourceFile(const std::string& path);

// "FILE:LINE:COL: MESSAGE" as InvalidArgument, and the same for syntax errors.
absl::Status SourceError(const std::string& name, SourcePosition at, const std::string& message);
absl::Status SyntaxError(const std::string& name, SourcePosition at, const std::string& message);

}  // namespace ballast
