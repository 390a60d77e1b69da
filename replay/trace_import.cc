#include "replay/trace_import.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "replay/npy.h"

namespace ballast {
namespace {

using Counts = std::vector<std::vector<uint16_t>>;  // [microbatch][expert]

absl::Status Bad(const std::string& where, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(where, ": ", what));
}

// "[[1, 2.0], [3, 4]]", nothing else.
absl::StatusOr<Counts> ParseTable(const std::string& where, const std::string& text) {
  Counts counts;
  int depth = 0;
  size_t at = 0;
  bool closed = false;
  while (at < text.size()) {
    const char c = text[at];
    if (absl::ascii_isspace(static_cast<unsigned char>(c)) || c == ',') {
      ++at;
    } else if (c == '[' && depth < 2 && !closed) {
      ++at;
      if (++depth == 2) counts.emplace_back();
    } else if (c == ']' && depth > 0) {
      ++at;
      closed = --depth == 0;
    } else {
      size_t end = at;
      while (end < text.size() && text[end] != ',' && text[end] != ']' && text[end] != '[') ++end;
      double value = 0;
      const std::string word(absl::StripAsciiWhitespace(text.substr(at, end - at)));
      if (depth != 2 || !absl::SimpleAtod(word, &value) || !(value >= 0 && value <= 65535) ||
          value != std::floor(value)) {
        return Bad(where, absl::StrCat("found '", word.substr(0, 20),
                                       "', allowed are lists of lists of integers of 0..65535"));
      }
      counts.back().push_back(static_cast<uint16_t>(value));
      at = end;
    }
  }
  if (!closed || counts.empty()) return Bad(where, "the list is not complete");
  return counts;
}

// [layer] of one file.
absl::StatusOr<std::vector<Counts>> ParseFile(const std::string& name, const std::string& text) {
  std::vector<Counts> layers;
  int line_number = 0;
  for (const auto& piece : absl::StrSplit(text, '\n')) {
    const std::string line(piece);
    ++line_number;
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    const std::string where = absl::StrCat(name, ", line ", line_number);
    const size_t colon = line.find(':');
    int layer = 0;
    if (colon == std::string::npos || !absl::SimpleAtoi(line.substr(0, colon), &layer)) {
      return Bad(where, "expected LAYER:[[...], ...]");
    }
    if (layer != static_cast<int>(layers.size())) {
      return Bad(where, absl::StrCat("found layer ", layer, ", expected ", layers.size()));
    }
    BALLAST_ASSIGN_OR_RETURN(Counts counts, ParseTable(where, line.substr(colon + 1)));
    layers.push_back(std::move(counts));
  }
  if (layers.empty()) return Bad(name, "no layers");
  return layers;
}

void Append(uint16_t value, std::string& bytes) {
  bytes += static_cast<char>(value & 0xff);
  bytes += static_cast<char>(value >> 8);
}

}  // namespace

bool ParseSmartMoeName(const std::string& name, std::pair<int, int>& iteration_and_rank) {
  const std::string prefix = "table_iter", middle = "_rank", suffix = ".log";
  const size_t at = name.find(middle);
  if (name.rfind(prefix, 0) != 0 || at == std::string::npos ||
      name.size() < suffix.size() + at + middle.size() ||
      name.compare(name.size() - suffix.size(), suffix.size(), suffix) != 0) {
    return false;
  }
  const std::string iteration = name.substr(prefix.size(), at - prefix.size());
  const size_t from = at + middle.size();
  const std::string rank = name.substr(from, name.size() - suffix.size() - from);
  return absl::SimpleAtoi(iteration, &iteration_and_rank.first) &&
         absl::SimpleAtoi(rank, &iteration_and_rank.second) && iteration_and_rank.first >= 0 &&
         iteration_and_rank.second >= 0;
}

absl::StatusOr<std::string> ImportSmartMoeTables(const std::map<std::pair<int, int>, std::string>& files) {
  if (files.empty()) return Bad("trace", "found no table_iter<iteration>_rank<rank>.log");
  std::map<int, std::vector<std::vector<Counts>>> steps;  // iteration -> [rank][layer]
  for (const auto& [key, text] : files) {
    const std::string name = absl::StrCat("table_iter", key.first, "_rank", key.second, ".log");
    std::vector<std::vector<Counts>>& ranks = steps[key.first];
    if (key.second != static_cast<int>(ranks.size())) {
      return Bad(name, absl::StrCat("rank ", ranks.size(), " of the iteration is missing"));
    }
    BALLAST_ASSIGN_OR_RETURN(std::vector<Counts> layers, ParseFile(name, text));
    ranks.push_back(std::move(layers));
    const std::vector<Counts>& first = steps.begin()->second[0];
    bool same = ranks.back().size() == first.size();
    for (size_t l = 0; same && l < first.size(); ++l) {
      same = ranks.back()[l].size() == first[0].size();
      for (size_t m = 0; same && m < first[0].size(); ++m)
        same = ranks.back()[l][m].size() == first[0][0].size();
    }
    if (!same) return Bad(name, "its layers, microbatches or experts differ from the first file's");
  }
  const size_t ranks = steps.begin()->second.size();
  const std::vector<Counts>& first = steps.begin()->second[0];
  std::string bytes = NpyHeader(2, {static_cast<int64_t>(steps.size()), static_cast<int64_t>(first.size()),
                                    static_cast<int64_t>(first[0].size()), static_cast<int64_t>(ranks),
                                    static_cast<int64_t>(first[0][0].size())});
  for (const auto& [iteration, step] : steps) {
    if (step.size() != ranks) {
      return Bad(absl::StrCat("iteration ", iteration),
                 absl::StrCat("found ", step.size(), " ranks, the first has ", ranks));
    }
    for (size_t l = 0; l < first.size(); ++l) {
      for (size_t m = 0; m < first[0].size(); ++m) {
        for (const std::vector<Counts>& rank : step) {
          for (uint16_t count : rank[l][m]) Append(count, bytes);
        }
      }
    }
  }
  return bytes;
}

absl::StatusOr<std::string> ImportRawU16(const std::string& values, const std::vector<int64_t>& shape) {
  if (shape.size() != 5) return Bad("shape", "allowed is STEPS,SOURCES,LAYERS,MICROBATCHES,EXPERTS");
  int64_t size = 2;
  for (int64_t dimension : shape) {
    if (dimension < 1 || size > std::numeric_limits<int64_t>::max() / dimension) {
      return Bad("shape", absl::StrCat("found ", dimension, ", allowed is 1 or more, and no overflow"));
    }
    size *= dimension;
  }
  if (size != static_cast<int64_t>(values.size())) {
    return Bad("trace", absl::StrCat("found ", values.size(), " bytes, the shape needs ", size));
  }
  const size_t sources = static_cast<size_t>(shape[1]), tables = static_cast<size_t>(shape[2] * shape[3]);
  const size_t row = static_cast<size_t>(2 * shape[4]);
  std::string bytes = NpyHeader(2, {shape[0], shape[2], shape[3], shape[1], shape[4]});
  bytes.reserve(bytes.size() + values.size());
  for (size_t step = 0; step < static_cast<size_t>(shape[0]); ++step) {
    for (size_t table = 0; table < tables; ++table) {
      for (size_t source = 0; source < sources; ++source) {
        bytes.append(values, ((step * sources + source) * tables + table) * row, row);
      }
    }
  }
  return bytes;
}

}  // namespace ballast
