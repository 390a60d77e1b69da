// ballastctl job ...: one function per command.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "ctl/context.h"

namespace ballast {

struct JobSubmitArguments {
  std::string file;
  bool dry_run = false;  // needs no coordinator and no certificate
  bool wait = false;     // until the job has ended
  std::string resume;    // directory of a checkpoint, or of a job's; empty = from the beginning
};
absl::Status JobSubmit(const Context& context, const JobSubmitArguments& arguments);

absl::Status JobList(const Context& context);
absl::Status JobGet(const Context& context, const std::string& name);

struct JobStopArguments {
  std::string name;
  bool now = false;   // do not wait for a step boundary
  bool wait = false;  // until the job has ended
};
absl::Status JobStop(const Context& context, const JobStopArguments& arguments);

}  // namespace ballast
