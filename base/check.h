// CHECK: for our own mistakes only. Input from users, files and the network gets an absl::Status instead.
#pragma once

#include <sstream>
#include <string>

namespace ballast::internal {

// Prints "FILE:LINE: CHECK failed: TEXT MESSAGE" to stderr and aborts.
[[noreturn]] void CheckFailed(const char* file, int line, const char* text, const std::string& message);

class CheckStream {
 public:
  CheckStream(const char* file, int line, const char* text) : file_(file), line_(line), text_(text) {}
  [[noreturn]] ~CheckStream() { CheckFailed(file_, line_, text_, message_.str()); }
  template <class T>
  CheckStream& operator<<(const T& value) {
    message_ << value;
    return *this;
  }

 private:
  const char* file_;
  int line_;
  const char* text_;
  std::ostringstream message_;
};

}  // namespace ballast::internal

#define BALLAST_CHECK(condition) \
  while (!(condition)) ::ballast::internal::CheckStream(__FILE__, __LINE__, #condition)
#define BALLAST_CHECK_OK(expression)                                         \
  do {                                                                       \
    const auto& ballast_check_status = (expression);                         \
    BALLAST_CHECK(ballast_check_status.ok()) << ballast_check_status.ToString(); \
  } while (false)
