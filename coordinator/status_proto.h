// What the control service answers: the coordinator's status values as protobuf.
#pragma once

#include "ballast/v1/control.pb.h"
#include "coordinator/records.h"
#include "coordinator/status.h"
#include "coordinator/streams.h"

namespace ballast {

v1::StepStatus ToProto(const StepPoint& point);
v1::Evaluation ToProto(const EvaluationPoint& point);
v1::PlanStatus ToProto(const PlanRecord& plan);
v1::CheckpointStatus ToProto(const CheckpointRecord& checkpoint);
v1::WorkerStatus ToProto(const WorkerStatus& worker);
v1::LoggedEvent ToProto(const JobEvent& event);
v1::JobEvent ToProto(const JobUpdate& update);
// Without `details`, evaluations and recent steps are left out.
v1::JobStatus ToProto(const JobStatus& job, bool details);

}  // namespace ballast
