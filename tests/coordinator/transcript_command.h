// A command of a transcript, taken apart.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/check.h"

namespace ballast {

inline int64_t Number(const std::string& text) {
  int64_t value = 0;
  BALLAST_CHECK(absl::SimpleAtoi(text, &value)) << "not a number: " << text;
  return value;
}

struct Command {
  std::vector<std::string> words;
  std::map<std::string, std::string> options;

  explicit Command(const std::string& line) {
    for (const std::string& word : std::vector<std::string>(absl::StrSplit(line, ' ', absl::SkipEmpty()))) {
      const size_t equals = word.find('=');
      if (equals == std::string::npos) {
        words.push_back(word);
      } else {
        options[word.substr(0, equals)] = word.substr(equals + 1);
      }
    }
  }
  const std::string& word(size_t i) const {
    BALLAST_CHECK(i < words.size()) << "too few words after " << words[0];
    return words[i];
  }
  int64_t number(size_t i) const { return Number(word(i)); }
  int64_t option(const std::string& name, int64_t otherwise) const {
    auto it = options.find(name);
    return it == options.end() ? otherwise : Number(it->second);
  }
  bool has(const std::string& name) const {
    return std::find(words.begin(), words.end(), name) != words.end() || options.count(name) > 0;
  }
  std::string rest(size_t from) const {
    return absl::StrJoin(words.begin() + static_cast<ptrdiff_t>(from), words.end(), " ");
  }
};

}  // namespace ballast
