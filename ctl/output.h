// Data on stdout: tables for people, JSON and YAML for programs.
#pragma once

#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "ctl/context.h"

namespace ballast {

// Columns as wide as their widest cell, two blanks between them; a column of numbers is aligned right.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}
  void Add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  void Print(std::ostream& out) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// Writes `json` when a program reads the output; false when it is for people, and the caller prints a table.
bool PrintForPrograms(const Context& context, const nlohmann::ordered_json& json);

// A list of messages as one JSON list.
template <class Messages>
nlohmann::ordered_json JsonList(const Messages& messages,
                                nlohmann::ordered_json (*to_json)(const typename Messages::value_type&)) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const auto& message : messages) list.push_back(to_json(message));
  return list;
}

std::string Fixed(double value, int decimals);
// "2h05m", "3m07s", "12s"; "-" when unknown (0 or not finite).
std::string DurationText(double seconds);

}  // namespace ballast
