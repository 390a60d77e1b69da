#include "wire/source.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "wire/utf8.h"

namespace ballast {
namespace {

constexpr char kByteOrderMark[] = "\xef\xbb\xbf";

bool IsJson(const SourceText& source) {
  if (absl::EndsWith(source.name, ".json")) return true;
  if (absl::EndsWith(source.name, ".yaml") || absl::EndsWith(source.name, ".yml")) return false;
  size_t first = source.text.find_first_not_of(" \t\r\n");
  return first != std::string::npos && (source.text[first] == '{' || source.text[first] == '[');
}

SourcePosition PositionOf(const std::string& text, size_t offset) {
  SourcePosition at;
  for (size_t i = 0; i < offset; ++i) {
    if (text[i] == '\n') {
      ++at.line;
      at.column = 1;
    } else {
      ++at.column;
    }
  }
  return at;
}

}  // namespace

absl::Status SourceError(const std::string& name, SourcePosition at, const std::string& message) {
  return absl::InvalidArgumentError(absl::StrCat(name, ":", at.line, ":", at.column, ": ", message));
}

absl::Status SyntaxError(const std::string& name, SourcePosition at, const std::string& message) {
  return SourceError(name, at, absl::StrCat("syntax error at line ", at.line, ": ", message));
}

absl::StatusOr<SourceNode> ParseSource(const SourceText& source) {
  if (source.text.size() > kSourceBytesMax) {
    return SourceError(
        source.name, {},
        absl::StrCat("the file has ", source.text.size(), " bytes, allowed at most ", kSourceBytesMax));
  }
  size_t bad = FirstInvalidUtf8(source.text);
  if (bad != std::string::npos) {
    return SourceError(
        source.name, PositionOf(source.text, bad),
        absl::StrFormat("not UTF-8: byte 0x%02x", static_cast<unsigned char>(source.text[bad])));
  }
  for (size_t i = 0; i < source.text.size(); ++i) {
    unsigned char c = source.text[i];
    if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f) {
      return SourceError(source.name, PositionOf(source.text, i),
                         absl::StrFormat("control character 0x%02x, allowed are tab and line ends", c));
    }
  }
  if (absl::StartsWith(source.text, kByteOrderMark)) {
    return ParseSource({source.name, source.text.substr(3)});
  }
  return IsJson(source) ? ParseJson(source) : ParseYaml(source);
}

absl::StatusOr<SourceText> ReadSourceFile(const std::string& path) {
  bool is_stdin = path == "-";
  std::string name = is_stdin ? "(standard input)" : path;
  auto error = [&](const char* what) {
    std::string message = absl::StrCat(name, ": ", what, ": ", std::strerror(errno));
    if (errno == ENOENT || errno == ENOTDIR) return absl::NotFoundError(message);
    if (errno == EACCES || errno == EPERM) return absl::PermissionDeniedError(message);
    return absl::InvalidArgumentError(message);
  };
  std::FILE* file = is_stdin ? stdin : std::fopen(path.c_str(), "rb");
  if (file == nullptr) return error("cannot open");
  auto close = [is_stdin](std::FILE* f) {
    if (!is_stdin) std::fclose(f);
  };
  std::unique_ptr<std::FILE, decltype(close)> owner(file, close);
  SourceText source{name, ""};
  char buffer[1 << 16];
  while (size_t n = std::fread(buffer, 1, sizeof buffer, file)) {
    source.text.append(buffer, n);
    if (source.text.size() > kSourceBytesMax) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ":1:1: the file is larger than the allowed ", kSourceBytesMax, " bytes"));
    }
  }
  if (std::ferror(file)) return error("cannot read");
  return source;
}

}  // namespace ballast
