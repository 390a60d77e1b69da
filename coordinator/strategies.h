// The names that a job or a plan may use, for `ballastctl strategies` and for the check of a submitted job.
#pragma once

#include <string>
#include <vector>

#include "ballast/v1/control.pb.h"

namespace ballast {

std::vector<std::string> KnownPlanners();
v1::ListStrategiesResponse ListStrategies();

}  // namespace ballast
