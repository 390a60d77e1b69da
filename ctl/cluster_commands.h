// ballastctl worker list, adopt, strategies and version: one function per command.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "ctl/context.h"

namespace ballast {

absl::Status WorkerList(const Context& context);
struct WorkerDrainArguments {
  std::string name;
  bool wait = false;  // until the worker has no job any more
};
absl::Status WorkerDrain(const Context& context, const WorkerDrainArguments& arguments);
absl::Status WorkerCordon(const Context& context, const std::string& name, bool cordon);
absl::Status Adopt(const Context& context);
absl::Status Strategies(const Context& context);

// This program's; with `ask_coordinator` also the coordinator's.
absl::Status Version(const Context& context, bool ask_coordinator);

}  // namespace ballast
