// Explanations and measured gains <-> protobuf, for the store and for operators.
#pragma once

#include "absl/status/statusor.h"
#include "ballast/v1/control.pb.h"
#include "coordinator/records.h"

namespace ballast {

v1::PlanExplanation ToProto(const Explanation& explanation);
v1::MeasuredGain ToProto(const MeasuredGain& gain);
// InvalidArgument names a field with an impossible value.
absl::StatusOr<Explanation> FromProto(const v1::PlanExplanation& explanation);
absl::StatusOr<MeasuredGain> FromProto(const v1::MeasuredGain& gain);

}  // namespace ballast
