// ballastctl trace save: what a job really routed, as a recording that replay takes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ctl/context.h"

namespace ballast {

struct TraceSaveArguments {
  std::string name;    // job
  std::string out;     // .npy
  std::string tokens;  // .npy of sampled tokens; empty = none
  bool follow = false;
};
absl::Status TraceSave(const Context& context, const TraceSaveArguments& arguments);

// Assignments by step, [layer][expert].
using LoadsByStep = std::map<int64_t, std::vector<std::vector<int64_t>>>;

// An array [step][layer][1][expert] of 32-bit counts: the steps in rising order, one microbatch each; a step
// that is missing leaves no row. FailedPrecondition without a step; InvalidArgument when a count does not fit
// or shapes differ.
absl::StatusOr<std::string> LoadsArray(const LoadsByStep& loads);

}  // namespace ballast
