// StepModel: how long a step takes under a plan, and whether that can still be believed.
//
// step = rest + sum over layers of what the busiest rank's tokens take. A row's time is measured in the
// experts' phases; the rest (dense layers, exchange, sums, refresh) is what steps took beyond it. A guard
// compares what the model would have said of each step with what it took.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "coordinator/planner/calibration/robust_line.h"

namespace ballast {

struct GuardOptions {
  size_t steps = 50;    // that are compared
  double error = 0.10;  // median relative error from which on the model is not believed
  size_t again = 25;    // steps of a new model until it is
};

// Says whether predictions can be believed. A value.
class ModelGuard {
 public:
  explicit ModelGuard(GuardOptions options = {}) : options_(options) {}
  // True when this step trips it: the model should be learned anew.
  bool Observe(double predicted, double measured);
  // Optional moves may rest on predictions.
  bool trusted() const { return trusted_; }
  // Median of (predicted - measured) / measured over the newest steps; 0 before the first. Noise of single
  // steps cancels, a model that is wrong does not.
  double median_error() const;

 private:
  double doubt() const;  // of the median: noise of single steps is no error of the model

  GuardOptions options_;
  std::deque<double> errors_;
  bool trusted_ = true;
};

class StepModel {
 public:
  explicit StepModel(GuardOptions guard = {}) : guard_(guard) {}

  // One step: `busiest` is the sum over layers of the busiest rank's tokens over its speed (1 = healthy),
  // `seconds_per_row` what one takes by the compute class (0 = not known yet), `seconds` what the step took.
  // True when the guard trips.
  bool Observe(double busiest, double seconds_per_row, double seconds);
  // Nothing until the first kWarmUp steps were observed with a known row time.
  std::optional<double> Predict(double busiest) const;
  const ModelGuard& guard() const { return guard_; }

 private:
  double row_ = 0;  // seconds
  RobustLine rest_{0.97};
  ModelGuard guard_;
};

}  // namespace ballast
