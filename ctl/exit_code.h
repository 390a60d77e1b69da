// Exit codes of ballastctl; docs/cli.md and --help list them.
#pragma once

#include "absl/status/status.h"

namespace ballast {

enum ExitCode : int {
  kExitOk = 0,
  kExitError = 1,        // also: the job that was watched or waited for has failed
  kExitUsage = 2,        // wrong flags, a missing or invalid file
  kExitNotFound = 3,     // no such job, plan or version
  kExitConflict = 4,     // the present state forbids it; the coordinator was fenced; the plan was refused
  kExitUnavailable = 5,  // no coordinator there, or it does not lead
  kExitDenied = 6,       // certificate or role
  kExitTimedOut = 7,
};

// One line per code, for --help.
extern const char kExitCodeHelp[];

// InvalidArgument is a bad input, wherever it was found; the rest is as the coordinator's RPCs use the codes.
ExitCode ExitCodeFor(const absl::Status& status);

// An error about something on this machine, such as a file that is not there: always a bad input.
absl::Status BadInput(const absl::Status& status);

}  // namespace ballast
