#include "base/log.h"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>

#include "absl/strings/str_format.h"

namespace ballast {
namespace {

std::atomic<LogFormat> process_format{LogFormat::kText};
std::atomic<LogLevel> process_lowest{LogLevel::kInfo};

const char* Name(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      return "error";
  }
  return "?";
}

// A JSON string literal; also used for text values that hold blanks, so that a line splits without guessing.
std::string Quote(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    unsigned char byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += absl::StrFormat("\\u%04x", byte);
    } else {
      out += c;
    }
  }
  return out + "\"";
}

bool NeedsQuotes(const std::string& text) {
  if (text.empty()) return true;
  for (char c : text) {
    if (static_cast<unsigned char>(c) <= ' ' || c == '"' || c == '=' || c == '\\' || c == 0x7f) return true;
  }
  return false;
}

std::string NowText() {
  auto now = std::chrono::system_clock::now();
  std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  int milliseconds =
      static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
  return absl::StrFormat("%s.%03dZ", text, milliseconds);
}

}  // namespace

std::string LogField::Format(double value) {
  return std::isfinite(value) ? absl::StrFormat("%.6g", value) : std::string("null");
}

void SetLogging(LogFormat format, LogLevel lowest) {
  process_format = format;
  process_lowest = lowest;
}

std::string FormatLogLine(LogFormat format, const std::string& time_text, LogLevel level, const std::string& event,
                          std::initializer_list<LogField> fields) {
  std::string line;
  if (format == LogFormat::kJson) {
    line = absl::StrFormat("{\"time\":%s,\"level\":\"%s\",\"event\":%s", Quote(time_text), Name(level), Quote(event));
    for (const LogField& field : fields) {
      line += ",\"";
      line += field.key();
      line += "\":";
      line += field.quoted() ? Quote(field.value()) : field.value();
    }
    return line + "}";
  }
  line = absl::StrFormat("time=%s level=%s event=%s", time_text, Name(level),
                         NeedsQuotes(event) ? Quote(event) : event);
  for (const LogField& field : fields) {
    line += ' ';
    line += field.key();
    line += '=';
    line += field.quoted() && NeedsQuotes(field.value()) ? Quote(field.value()) : field.value();
  }
  return line;
}

void Log(LogLevel level, const std::string& event, std::initializer_list<LogField> fields) {
  if (level < process_lowest.load()) return;
  std::string line = FormatLogLine(process_format.load(), NowText(), level, event, fields) + "\n";
  // One write per line, so that lines of several threads and processes do not mix.
  ssize_t written = write(STDERR_FILENO, line.data(), line.size());
  (void)written;
}

}  // namespace ballast
