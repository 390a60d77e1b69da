// PhaseTimer: where the time of a rank's step goes.
//
// The code of a step says which phase it enters; who times it is behind the interface: the clock where
// operations run when they are called, events on a stream where they are only enqueued.
#pragma once

#include "protocol/telemetry.h"
#include "worker/backend/backend.h"

namespace ballast {

// Of one rank's thread.
class PhaseTimer {
 public:
  virtual ~PhaseTimer() = default;
  // What is done from here on belongs to `phase`. Returns the phase it belonged to.
  virtual Phase Enter(Phase phase) = 0;
  // Operations are enqueued on `stream` from here on; everything on the one before has run. It outlives the
  // step.
  virtual void On(Stream& stream) = 0;
};

// Enters a phase and, at its end, what was there before. Without a timer nothing is measured (evaluation).
class PhaseScope {
 public:
  PhaseScope(PhaseTimer* timer, Phase phase)
      : timer_(timer), before_(timer != nullptr ? timer->Enter(phase) : phase) {}
  ~PhaseScope() { Next(before_); }
  PhaseScope(const PhaseScope&) = delete;
  PhaseScope& operator=(const PhaseScope&) = delete;

  void Next(Phase phase) {
    if (timer_ != nullptr) timer_->Enter(phase);
  }

 private:
  PhaseTimer* const timer_;
  const Phase before_;
};

}  // namespace ballast
