#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace ballast::internal {

void CheckFailed(const char* file, int line, const char* text, const std::string& message) {
  std::fprintf(stderr, "%s:%d: CHECK failed: %s %s\n", file, line, text, message.c_str());
  std::fflush(stderr);
  std::abort();
}

}  // namespace ballast::internal
