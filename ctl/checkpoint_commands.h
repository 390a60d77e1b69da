// ballastctl job checkpoint and job checkpoints, and what `job submit --resume` finds on disk.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/control.pb.h"
#include "ctl/context.h"
#include "plan/job_config.h"

namespace ballast {

struct JobCheckpointArguments {
  std::string name;
  bool wait = false;  // until it is complete
};
absl::Status JobCheckpoint(const Context& context, const JobCheckpointArguments& arguments);
absl::Status JobCheckpoints(const Context& context, const std::string& name);

// The checkpoint in `directory`, or the newest complete one below it, for a job `job`. Errors name the file
// and what is wrong with it; a model of another shape is one. Contents are verified by the workers that load
// them.
absl::StatusOr<v1::Resume> FindResume(const std::string& directory, const JobConfig& job);

}  // namespace ballast
