// When a checkpoint is taken: a function of the steps and their tables alone, so that all ranks take the same
// ones. Pure.
#pragma once

#include <cstdint>

#include "base/ids.h"

namespace ballast {

enum class CheckpointChoice {
  kNone,
  kTake,
  kSkip,  // due, but a rank still writes the one before
};

struct CheckpointMoment {
  Step step;
  bool busy = false;  // some rank said so in the table of this step
  bool last = false;  // the ranks end after this step: it is worth waiting for the one before
};

class CheckpointSchedule {
 public:
  // `every_steps` 0 = on request alone; not `enabled` = never.
  CheckpointSchedule(bool enabled, int64_t every_steps) : enabled_(enabled), every_steps_(every_steps) {}

  // A table has decided that a checkpoint is to be taken after `step`, or as soon after as no rank is busy.
  void Request(RequestId request, Step step);

  // To be asked once for every step, in order. With kTake, `request` says who asked for it; 0 = it was due.
  CheckpointChoice Choose(const CheckpointMoment& moment, RequestId& request);

 private:
  const bool enabled_;
  const int64_t every_steps_;
  RequestId requested_;  // 0 = nothing is asked for
  Step from_;
};

}  // namespace ballast
