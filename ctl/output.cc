#include "ctl/output.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "wire/message_json.h"

namespace ballast {
namespace {

// Characters, not bytes, of UTF-8 text.
size_t Width(const std::string& text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

bool IsNumber(const std::string& cell) {
  bool first = !cell.empty() && (absl::ascii_isdigit(static_cast<unsigned char>(cell[0])) || cell == "-");
  return first && std::count(cell.begin(), cell.end(), '.') <= 1;  // an address is none
}

}  // namespace

void Table::Print(std::ostream& out) const {
  std::vector<size_t> widths;
  std::vector<bool> right;  // all cells below the header are numbers
  for (size_t r = 0; r < rows_.size(); ++r) {
    widths.resize(std::max(widths.size(), rows_[r].size()), 0);
    right.resize(widths.size(), true);
    for (size_t c = 0; c < rows_[r].size(); ++c) {
      widths[c] = std::max(widths[c], Width(rows_[r][c]));
      if (r > 0 && !rows_[r][c].empty() && !IsNumber(rows_[r][c])) right[c] = false;
    }
  }
  for (const std::vector<std::string>& row : rows_) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) {
      std::string blanks(widths[c] - Width(row[c]), ' ');
      line += (c > 0 ? "  " : "") + (right[c] ? blanks + row[c] : row[c] + blanks);
    }
    out << line.substr(0, line.find_last_not_of(' ') + 1) << "\n";
  }
}

bool PrintForPrograms(const Context& context, const nlohmann::ordered_json& json) {
  switch (context.options.output) {
    case OutputFormat::kTable:
      return false;
    case OutputFormat::kJson:
      context.out << JsonText(json);
      return true;
    case OutputFormat::kYaml:
      context.out << YamlText(json);
      return true;
  }
  return false;
}

std::string Fixed(double value, int decimals) {
  return std::isfinite(value) ? absl::StrFormat("%.*f", decimals, value) : "-";
}

std::string DurationText(double seconds) {
  if (!std::isfinite(seconds) || seconds <= 0) return "-";
  int64_t s = static_cast<int64_t>(std::min(seconds + 0.5, 1e12));
  if (s < 60) return absl::StrFormat("%ds", s);
  if (s < 3600) return absl::StrFormat("%dm%02ds", s / 60, s % 60);
  return absl::StrFormat("%dh%02dm", s / 3600, s / 60 % 60);
}

}  // namespace ballast
