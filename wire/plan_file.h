// Plan files: a change of a plan, written by people, applied to the plan it is based on.
#pragma once

#include "absl/status/statusor.h"
#include "ballast/v1/plan_file.pb.h"
#include "plan/job_config.h"
#include "plan/plan.h"
#include "wire/strict_reader.h"

namespace ballast {

struct PlanFileText {
  v1::PlanFile file;
  FieldPositions positions;  // for complaints of whoever applies it: positions.Locate(status)
};

// Reads a plan file and checks what needs no plan to compare with: base_version is there, layers and blocks
// are named once. Errors have the field's place: "plan.yaml:5:5: layers[0].layer: ...".
absl::StatusOr<PlanFileText> ReadPlanFile(const SourceText& source);

// The content of the new plan: `base` with the named layers, blocks and fields replaced. An expert that stays
// on a rank keeps its slot's index; a new one takes the lowest free one. Homes stay where they are unless
// named.
//
// The homes may be farther away than home_move_bytes_max: whoever proposes the content takes them there in
// several plans (BoundHomeMoves).
//
// Errors: InvalidArgument "layers[0].hosts[2][1]: found expert 9, allowed 0..7"; also what ValidatePlan
// refuses. Whether `base` is the plan base_version is the caller's question. Safe for hostile input; `base`
// must be a valid plan of `job`.
absl::StatusOr<PlanBody> ApplyPlanFile(const v1::PlanFile& file, const PlanBody& base, const JobConfig& job);

}  // namespace ballast
