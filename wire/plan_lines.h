// Lines as `ballastctl replay --plans-out` writes them, one placement of one layer each, as a plan file.
#pragma once

#include "absl/status/statusor.h"
#include "ballast/v1/plan_file.pb.h"
#include "wire/source.h"

namespace ballast {

// The file's name ends in .jsonl, or its first line is a whole JSON object that names hosts.
bool ArePlanLines(const SourceText& source);

// All lines together; base_version is left out. Shares ("frac") become parts per 65536 that sum to 65536 for
// each expert. InvalidArgument with the place: no line, a line that is not of that form, shares that are not
// in the shape of hosts or sum to nothing, a layer that has two lines (take those of one step).
absl::StatusOr<v1::PlanFile> ReadPlanLines(const SourceText& source);

}  // namespace ballast
