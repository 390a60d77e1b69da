// ballastctl job watch and job summary: a job as it trains, and its figures at the end.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "ctl/context.h"

namespace ballast {

// Prints until the job has ended: a line per step, plan event and evaluation (table), or one JSON or YAML
// document per step. OK when it SUCCEEDED. A stream that breaks is opened again for up to a minute; steps in
// between are taken from the coordinator's memory and none is printed twice.
absl::Status JobWatch(const Context& context, const std::string& name);

// One line of JSON in every output format but YAML.
absl::Status JobSummary(const Context& context, const std::string& name);

}  // namespace ballast
