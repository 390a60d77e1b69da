#include "coordinator/records.h"

namespace ballast {

const char* ToString(JobState state) {
  switch (state) {
    case JobState::kQueued:
      return "QUEUED";
    case JobState::kStarting:
      return "STARTING";
    case JobState::kRunning:
      return "RUNNING";
    case JobState::kRecovering:
      return "RECOVERING";
    case JobState::kStopping:
      return "STOPPING";
    case JobState::kSucceeded:
      return "SUCCEEDED";
    case JobState::kFailed:
      return "FAILED";
  }
  return "?";
}

const char* ToString(PlanState state) {
  switch (state) {
    case PlanState::kProposed:
      return "PROPOSED";
    case PlanState::kCommitted:
      return "COMMITTED";
    case PlanState::kActive:
      return "ACTIVE";
    case PlanState::kAborted:
      return "ABORTED";
    case PlanState::kSuperseded:
      return "SUPERSEDED";
  }
  return "?";
}

const char* ToString(CheckpointState state) {
  switch (state) {
    case CheckpointState::kWritten:
      return "WRITTEN";
    case CheckpointState::kPublished:
      return "PUBLISHED";
    case CheckpointState::kDropped:
      return "DROPPED";
  }
  return "?";
}

const char* ToString(PlanOrigin origin) {
  switch (origin) {
    case PlanOrigin::kFirst:
      return "first";
    case PlanOrigin::kPlanner:
      return "planner";
    case PlanOrigin::kPushed:
      return "pushed";
    case PlanOrigin::kRollback:
      return "rollback";
    case PlanOrigin::kHomeMoves:
      return "home moves";
    case PlanOrigin::kRecovery:
      return "recovery";
  }
  return "?";
}

const char* ToString(JobEvent::Kind kind) {
  switch (kind) {
    case JobEvent::Kind::kState:
      return "state";
    case JobEvent::Kind::kPlan:
      return "plan";
    case JobEvent::Kind::kAlarm:
      return "alarm";
    case JobEvent::Kind::kMember:
      return "member";
    case JobEvent::Kind::kRecovery:
      return "recovery";
    case JobEvent::Kind::kCheckpoint:
      return "checkpoint";
    case JobEvent::Kind::kRequest:
      return "request";
    case JobEvent::Kind::kLeader:
      return "leader";
  }
  return "?";
}

}  // namespace ballast
