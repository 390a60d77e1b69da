// config.json of a checkpoint's model part, with Mixtral's own keys: the model part alone is what programs
// that know Mixtral's files can read.
#pragma once

#include <string>

#include "plan/job_config.h"

namespace ballast {

std::string ModelConfigText(const JobConfig& job, DType dtype);

}  // namespace ballast
