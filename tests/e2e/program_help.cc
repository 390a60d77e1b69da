#include "tests/e2e/program_help.h"

#include <cstdio>
#include <memory>
#include <regex>

namespace ballast {

std::string Help(const std::string& command) {
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(
      popen((BALLAST_BINARY_DIR "/" + command + " --help 2>&1").c_str(), "r"), pclose);
  std::string text;
  char buffer[4096];
  while (size_t n = fread(buffer, 1, sizeof buffer, pipe.get())) text.append(buffer, n);
  return text;
}

std::set<std::string> FlagsIn(const std::string& text) {
  static const std::regex flag("(^|[^a-zA-Z0-9-])(--[a-z][a-z0-9-]*)");
  std::set<std::string> flags;
  for (std::sregex_iterator it(text.begin(), text.end(), flag), end; it != end; ++it) flags.insert((*it)[2]);
  flags.erase("--help");
  return flags;
}

}  // namespace ballast
