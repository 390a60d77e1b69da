// The same job in this process: ranks as threads, the contiguous plan from the first step to the last.
#pragma once

#include <vector>

#include "plan/job_config.h"

namespace ballast {

// Loss of every step, as rank 0 reports it. `job` names real data files.
std::vector<double> ReferenceLosses(const JobConfig& job);

}  // namespace ballast
