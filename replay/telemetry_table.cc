#include "replay/telemetry_table.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"

namespace ballast {
namespace {

constexpr std::array<const char*, 6> kColumns = {"step",       "gpu",       "tokens",
                                                 "compute_ms", "nic_bytes", "nic_ms"};
enum Column { kStep, kGpu, kTokens, kComputeMs, kNicBytes, kNicMs };

absl::Status Wrong(int line, const std::string& column, const std::string& found,
                   const std::string& allowed) {
  return absl::InvalidArgumentError(
      absl::StrCat("line ", line, ": ", column, ": found ", found, ", allowed is ", allowed));
}

std::vector<std::string> Cells(const std::string& line) {
  std::vector<std::string> cells = absl::StrSplit(line, ',');
  for (std::string& cell : cells) cell = std::string(absl::StripAsciiWhitespace(cell));
  return cells;
}

// [column] -> its place in a line.
absl::StatusOr<std::array<size_t, kColumns.size()>> PlacesOf(const std::vector<std::string>& header) {
  std::array<size_t, kColumns.size()> places{};
  for (size_t c = 0; c < kColumns.size(); ++c) {
    const auto found = std::find(header.begin(), header.end(), kColumns[c]);
    if (found == header.end()) {
      return absl::InvalidArgumentError(absl::StrCat("line 1: found no column ", kColumns[c], ", needed are ",
                                                     absl::StrJoin(kColumns, ",")));
    }
    places[c] = static_cast<size_t>(found - header.begin());
  }
  for (const std::string& name : header) {
    const bool known = std::find(kColumns.begin(), kColumns.end(), name) != kColumns.end();
    if (!known || std::count(header.begin(), header.end(), name) > 1) {
      return absl::InvalidArgumentError(absl::StrCat("line 1: found ", known ? "two columns " : "a column ",
                                                     name, ", allowed are ", absl::StrJoin(kColumns, ",")));
    }
  }
  return places;
}

// A whole number in [0, count).
absl::StatusOr<int> ReadIndex(int line, const char* column, const std::string& cell, int count) {
  int value = 0;
  if (!absl::SimpleAtoi(cell, &value) || value < 0 || value >= count) {
    return Wrong(line, column, cell, absl::StrCat("0..", count - 1));
  }
  return value;
}

absl::StatusOr<double> ReadAmount(int line, const char* column, const std::string& cell) {
  double value = 0;
  if (!absl::SimpleAtod(cell, &value) || !std::isfinite(value) || value < 0) {
    return Wrong(line, column, cell.empty() ? "nothing" : cell, "0 or more");
  }
  return value;
}

}  // namespace

absl::StatusOr<TelemetryTable> TelemetryTable::Parse(const std::string& text, int gpus, int steps) {
  TelemetryTable table;
  table.gpus_ = gpus;
  std::vector<std::string> lines = absl::StrSplit(text, '\n');
  BALLAST_ASSIGN_OR_RETURN(const auto places, PlacesOf(Cells(lines[0])));
  for (size_t i = 1; i < lines.size(); ++i) {
    if (absl::StripAsciiWhitespace(lines[i]).empty()) continue;
    const int line = static_cast<int>(i) + 1;
    const std::vector<std::string> cells = Cells(lines[i]);
    if (cells.size() != kColumns.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", line, ": found ", cells.size(), " values, allowed is ", kColumns.size()));
    }
    const auto cell = [&](Column column) -> const std::string& { return cells[places[column]]; };
    BALLAST_ASSIGN_OR_RETURN(const int step, ReadIndex(line, kColumns[kStep], cell(kStep), steps));
    BALLAST_ASSIGN_OR_RETURN(const int gpu, ReadIndex(line, kColumns[kGpu], cell(kGpu), gpus));
    GpuTimes times;
    BALLAST_ASSIGN_OR_RETURN(times.tokens, ReadAmount(line, kColumns[kTokens], cell(kTokens)));
    BALLAST_ASSIGN_OR_RETURN(times.compute_ms, ReadAmount(line, kColumns[kComputeMs], cell(kComputeMs)));
    BALLAST_ASSIGN_OR_RETURN(times.nic_bytes, ReadAmount(line, kColumns[kNicBytes], cell(kNicBytes)));
    BALLAST_ASSIGN_OR_RETURN(times.nic_ms, ReadAmount(line, kColumns[kNicMs], cell(kNicMs)));
    std::vector<std::optional<GpuTimes>>& row = table.steps_[step];
    row.resize(static_cast<size_t>(gpus));
    if (row[static_cast<size_t>(gpu)]) {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", line, ": step ", step, " of gpu ", gpu, " is there twice"));
    }
    row[static_cast<size_t>(gpu)] = times;
  }
  return table;
}

void TelemetryFeed::ObserveBefore(int step) {
  auto row = table_.steps().lower_bound(next_);
  for (; row != table_.steps().end() && row->first < step; ++row) {
    std::vector<std::optional<ResourceClass::Sample>> compute(row->second.size()), port(row->second.size());
    for (size_t g = 0; g < row->second.size(); ++g) {
      const std::optional<GpuTimes>& times = row->second[g];
      if (!times) continue;
      compute[g] = ResourceClass::Sample{times->tokens, times->compute_ms};
      port[g] = ResourceClass::Sample{times->nic_bytes, times->nic_ms};
      tokens_.sum += times->tokens;
      tokens_.count += times->tokens > 0;
      bytes_.sum += times->nic_bytes;
      bytes_.count += times->nic_bytes > 0;
    }
    for (const SlowEvent& event : compute_.Observe(Step(row->first), compute)) events_.push_back(event);
    for (const SlowEvent& event : ports_.Observe(Step(row->first), port)) events_.push_back(event);
  }
  next_ = std::max(next_, step);
}

double TelemetryFeed::port_share() const {
  if (!compute_.line().known() || !ports_.line().known()) return 0;
  const double compute = compute_.line().At(tokens_.mean()), port = ports_.line().At(bytes_.mean());
  return port / (compute + port);
}

}  // namespace ballast
