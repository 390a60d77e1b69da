// Violation: a rule of the live switch was broken.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace ballast::sim {

// Thrown by a checker; ends the run.
struct Violation : std::runtime_error {
  Violation(std::string checker_name, const std::string& what)
      : std::runtime_error(what), checker(std::move(checker_name)) {}
  std::string checker;
};

}  // namespace ballast::sim
