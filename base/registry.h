// Named implementations of an interface, filled by one explicit list (a register file), never by static initialisers.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/check.h"

namespace ballast {

template <class T>
class Registry {
 public:
  // `kind` names the family in errors, as in "planner strategy".
  explicit Registry(std::string kind) : kind_(std::move(kind)) {}

  void Add(const std::string& name, std::string description, T value) {
    bool added = entries_.emplace(name, Entry{std::move(description), std::move(value)}).second;
    BALLAST_CHECK(added) << kind_ << " " << name << " is registered twice";
  }

  // NotFound names what was asked and what there is.
  absl::StatusOr<T> Find(const std::string& name) const {
    auto it = entries_.find(name);
    if (it != entries_.end()) return it->second.value;
    return absl::NotFoundError(
        absl::StrCat("unknown ", kind_, " \"", name, "\"; there are: ", absl::StrJoin(Names(), ", ")));
  }

  bool Has(const std::string& name) const { return entries_.count(name) > 0; }

  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& [name, entry] : entries_) names.push_back(name);
    return names;
  }

  // One line for `ballastctl strategies`. Requires Has(name).
  const std::string& Description(const std::string& name) const { return entries_.at(name).description; }
  const std::string& kind() const { return kind_; }

 private:
  struct Entry {
    std::string description;
    T value;
  };
  std::string kind_;
  std::map<std::string, Entry> entries_;
};

}  // namespace ballast
