// ballastctl job events: what happened to a job.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ctl/context.h"

namespace ballast {

struct JobEventsArguments {
  std::string name;
  std::string since;  // empty = all that are kept
  bool follow = false;
};
absl::Status JobEvents(const Context& context, const JobEventsArguments& arguments);

// The time that `since` names, in ms since 1970 (UTC): an age before `now_unix_ms` ("90s", "15m", "2h", "1d")
// or "2026-01-31T18:00:00Z". InvalidArgument otherwise.
absl::StatusOr<int64_t> ParseSince(const std::string& since, int64_t now_unix_ms);

// "2026-01-31T18:00:00.250Z".
std::string TimeText(int64_t unix_ms);

}  // namespace ballast
