// Plans and loads <-> protobuf.
//
// FromProto is safe for hostile input: it checks what the C++ types themselves take for granted (kinds,
// negative ids) and says InvalidArgument with the field. Whether a plan makes sense is ValidatePlan's
// business.
#pragma once

#include "absl/status/statusor.h"
#include "ballast/v1/types.pb.h"
#include "plan/load.h"
#include "plan/plan.h"

namespace ballast {

v1::SplitPolicy ToProto(const SplitPolicy& split);
v1::LayerSchedule ToProto(const LayerSchedule& schedule);
v1::LayerPlan ToProto(const LayerPlan& layer);
v1::PlanBody ToProto(const PlanBody& body);
v1::Plan ToProto(const Plan& plan);
v1::StepLoad ToProto(const StepLoad& load);

absl::StatusOr<SplitPolicy> FromProto(const v1::SplitPolicy& split);
LayerSchedule FromProto(const v1::LayerSchedule& schedule);  // what is not set has the type's default
absl::StatusOr<LayerPlan> FromProto(const v1::LayerPlan& layer);
absl::StatusOr<PlanBody> FromProto(const v1::PlanBody& body);
absl::StatusOr<Plan> FromProto(const v1::Plan& plan);
StepLoad FromProto(const v1::StepLoad& load);

}  // namespace ballast
