// The same job in this process: ranks as threads, the contiguous plan from the first step to the last.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/job_config.h"

namespace ballast {

// Loss of every step, as rank 0 reports it. `job` names real data files. With `steps` > 0 the run is stopped
// soon after that many, of a job that may have many more.
std::vector<double> ReferenceLosses(const JobConfig& job, int64_t steps = 0);

}  // namespace ballast
