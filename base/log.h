// Structured logs on stderr: one line per event, key=value or JSON.
//
//   Log(LogLevel::kInfo, "plan active", {{"job", id.value()}, {"plan", version.value()}, {"step", step.value()}});
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <type_traits>
#include <utility>

namespace ballast {

enum class LogLevel { kDebug, kInfo, kWarning, kError };
enum class LogFormat { kText, kJson };

// A key and its value, already formatted; numbers and booleans are not quoted in JSON.
class LogField {
 public:
  LogField(const char* key, std::string value) : key_(key), value_(std::move(value)), quoted_(true) {}
  LogField(const char* key, const char* value) : LogField(key, std::string(value)) {}
  LogField(const char* key, bool value) : key_(key), value_(value ? "true" : "false"), quoted_(false) {}
  template <class T>
    requires(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>)
  LogField(const char* key, T value) : key_(key), value_(Format(value)), quoted_(false) {}

  const char* key() const { return key_; }
  const std::string& value() const { return value_; }
  bool quoted() const { return quoted_; }

 private:
  static std::string Format(double value);
  static std::string Format(float value) { return Format(static_cast<double>(value)); }
  template <class T>
  static std::string Format(T value) {
    return std::to_string(value);
  }
  const char* key_;
  std::string value_;
  bool quoted_;
};

// Sets the process's format and lowest level. Call once, before threads start.
void SetLogging(LogFormat format, LogLevel lowest);

// Writes one line, whole, from any thread.
void Log(LogLevel level, const std::string& event, std::initializer_list<LogField> fields = {});

// The line as Log writes it, without the newline; `time_text` is RFC 3339.
std::string FormatLogLine(LogFormat format, const std::string& time_text, LogLevel level, const std::string& event,
                          std::initializer_list<LogField> fields);

}  // namespace ballast
