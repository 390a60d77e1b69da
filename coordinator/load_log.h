// LoadLog: the recorded steps of jobs on disk, so that a trace outlives the coordinator. No state of the
// control plane: it is not part of any transaction, and may lack its newest steps after a crash of the
// machine.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "protocol/messages.h"

namespace ballast {

// Used by the driver's thread alone.
class LoadLog {
 public:
  virtual ~LoadLog() = default;
  // Not synced. What cannot be written is left out, with one warning in the log.
  virtual void Append(const StepReport& report) = 0;
  // Of one job, as they stand: rising steps, each of the newest generation that trained it; what an older
  // generation did from there on did not happen.
  virtual std::vector<StepReport> Read(const JobId& job) = 0;
};

struct LoadLogOptions {
  size_t bytes_max = 64 << 20;  // of one job, in two files; the older goes when the newer is full
  size_t jobs_max = 32;         // whose logs are kept, by the time of their last step
};

// Files <directory>/JOB.new and JOB.old (created, as the directory), JOB with what a file name cannot hold
// written as %XX. A torn or damaged end is cut off. Errors name the file.
absl::StatusOr<std::unique_ptr<LoadLog>> OpenLoadLog(const std::string& directory,
                                                     const LoadLogOptions& options = {});

}  // namespace ballast
