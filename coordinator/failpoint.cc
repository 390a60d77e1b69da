#include "coordinator/failpoint.h"

#include "absl/strings/str_cat.h"

namespace ballast {

absl::StatusOr<Failpoint> ParseFailpoint(const std::string& name) {
  if (name.empty()) return Failpoint::kNone;
  if (name == "die-after-first-commit") return Failpoint::kDieAfterFirstCommit;
  return absl::InvalidArgumentError(
      absl::StrCat("--failpoint: found \"", name, "\", allowed: die-after-first-commit"));
}

}  // namespace ballast
