#include "tests/purity/impurities.h"

#include <deque>
#include <map>
#include <regex>
#include <sstream>

namespace ballast::testing {
namespace {

// Names the types Time and Duration, which pure code is handed; its clock is for others.
const char kTimeTypes[] = "base/clock.h";

bool IsBannedInclude(const std::string& name) {
  static const std::regex banned(
      "chrono|ctime|time\\.h|thread|mutex|shared_mutex|condition_variable|future|atomic|semaphore|latch|"
      "barrier|stop_token|"
      "pthread\\.h|fstream|iostream|filesystem|cstdio|stdio\\.h|unistd\\.h|fcntl\\.h|dirent\\.h|sys/"
      ".*|netinet/.*|arpa/.*|"
      "random|grpc.*|google/protobuf/.*|.*\\.pb\\.h|cuda.*|nccl.*|gloo/.*|sqlite3.*|yaml-cpp/.*|absl/time/.*|"
      "absl/synchronization/.*|absl/random/.*|base/(log|mutex|mailbox)\\.h|kernels/.*|wire/.*");
  return std::regex_match(name, banned);
}

// Uses that need no include of their own.
const std::regex& BannedUse() {
  static const std::regex banned(
      "\\bSteadyClock\\b|::now\\s*\\(|\\bClock\\b|\\bstd::(thread|jthread|mutex|atomic|async|random_device|"
      "cout|cerr|clog)\\b|"
      "\\b(getenv|fopen|fprintf|printf|puts|rand|srand|time|clock|gettimeofday|clock_gettime|usleep|sleep)"
      "\\s*\\(|"
      "\\bthread_local\\b|\\b__DATE__\\b|\\b__TIME__\\b");
  return banned;
}

// The code of a line, without its // comment and without what stands in quotes. Good enough for this
// repository, which has no block comments and no raw strings in pure code.
std::string CodeOf(const std::string& line) {
  std::string code;
  char quote = 0;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quote) {
      if (c == '\\') ++i;
      if (c == quote) quote = 0;
    } else if (c == '"' ||
               (c == '\'' && (i == 0 || !std::isxdigit(static_cast<unsigned char>(line[i - 1]))))) {
      quote = c;
    } else if (c == '/' && i + 1 < line.size() && line[i + 1] == '/') {
      break;
    } else {
      code += c;
    }
  }
  return code;
}

}  // namespace

Impurities FindImpurities(const std::vector<std::string>& files, const ReadSource& read) {
  static const std::regex include("^\\s*#\\s*include\\s*[<\"]([^>\"]+)[>\"].*");
  Impurities result;
  std::map<std::string, std::string> path_to;  // how a file was reached
  std::deque<std::string> queue;
  const auto reach = [&](const std::string& file, const std::string& path) {
    if (!result.files.insert(file).second) return;
    path_to[file] = path;
    queue.push_back(file);
  };
  for (const std::string& file : files) reach(file, file);
  while (!queue.empty()) {
    const std::string file = queue.front();
    queue.pop_front();
    const std::optional<std::string> text = read(file);
    if (!text) {
      result.found.push_back(path_to[file] + ": cannot be read");
      continue;
    }
    if (file == kTimeTypes) continue;
    std::istringstream lines(*text);
    for (std::string line; std::getline(lines, line);) {
      std::smatch match;
      if (std::regex_match(line, match, include)) {
        const std::string name = match[1];
        if (IsBannedInclude(name)) {
          result.found.push_back(path_to[file] + ": includes " + name);
        } else if (read(name)) {
          reach(name, path_to[file] + " -> " + name);
        }
        continue;
      }
      const std::string code = CodeOf(line);
      if (std::regex_search(code, match, BannedUse())) {
        result.found.push_back(path_to[file] + ": uses " + match[0].str());
      }
    }
  }
  return result;
}

}  // namespace ballast::testing
