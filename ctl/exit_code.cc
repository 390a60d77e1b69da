#include "ctl/exit_code.h"

namespace ballast {

const char kExitCodeHelp[] =
    "Exit codes:\n"
    "  0  done\n"
    "  1  error; also when the job that was watched or waited for has failed\n"
    "  2  wrong usage, or a missing or invalid input file\n"
    "  3  no such job, plan or version\n"
    "  4  conflict: the present state forbids it, the plan was refused, or the coordinator was fenced\n"
    "  5  the coordinator cannot be reached, or does not lead\n"
    "  6  denied: certificate or role\n"
    "  7  timed out\n";

ExitCode ExitCodeFor(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitOk;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return kExitUsage;
    case absl::StatusCode::kNotFound:
      return kExitNotFound;
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kAborted:
      return kExitConflict;
    case absl::StatusCode::kUnavailable:
      return kExitUnavailable;
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return kExitDenied;
    case absl::StatusCode::kDeadlineExceeded:
      return kExitTimedOut;
    default:
      return kExitError;
  }
}

absl::Status BadInput(const absl::Status& status) {
  return status.ok() ? status : absl::InvalidArgumentError(status.message());
}

}  // namespace ballast
