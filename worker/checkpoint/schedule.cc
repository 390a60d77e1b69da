#include "worker/checkpoint/schedule.h"

#include <utility>

namespace ballast {

void CheckpointSchedule::Request(RequestId request, Step step) {
  requested_ = request;
  from_ = step;
}

CheckpointChoice CheckpointSchedule::Choose(const CheckpointMoment& moment, RequestId& request) {
  request = RequestId();
  if (!enabled_) return CheckpointChoice::kNone;
  const bool requested = requested_.value() > 0 && moment.step >= from_;
  const bool due = every_steps_ > 0 && moment.step.value() % every_steps_ == 0;
  if (!requested && !due && !moment.last) return CheckpointChoice::kNone;
  if (moment.busy && !moment.last) return requested ? CheckpointChoice::kNone : CheckpointChoice::kSkip;
  if (requested || moment.last) request = std::exchange(requested_, RequestId());
  return CheckpointChoice::kTake;
}

}  // namespace ballast
