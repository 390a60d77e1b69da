// Places where a test lets a daemon die, because no outside observer can hit them.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace ballast {

enum class Failpoint {
  kNone,
  kDieAfterFirstCommit,  // the first Commit message of a plan leaves, then the coordinator dies as by kill -9
};

// "" and "die-after-first-commit"; InvalidArgument names what is allowed.
absl::StatusOr<Failpoint> ParseFailpoint(const std::string& name);

}  // namespace ballast
