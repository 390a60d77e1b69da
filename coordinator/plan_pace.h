// PlanPace: how fast this machine plans for a job, so that a time becomes a budget of placements.
//
// Planning itself knows no clock: a plan is a function of its input and the budget, and its explanation says
// which one it had.
#pragma once

#include <cstddef>
#include <cstdint>

#include "coordinator/planner/calibration/robust_line.h"

namespace ballast {

// A value. A look takes a time of its own (forecasts, bounds, packing) and one for each placement it counts.
class PlanPace {
 public:
  // A look that counted so many placements took so long. One that counted none says nothing.
  void Observe(int64_t evaluations, double seconds);

  // Placements of one search, so that a look of so many searches takes about `seconds`: `unknown` before the
  // first look that counted any, else within [kLeast, kMost].
  int64_t EvaluationsIn(double seconds, size_t searches, int64_t unknown) const;

  // The same for a look that nothing is known of, by its size: `cells` are experts times ranks. Within
  // [kLeast, kPlacementsMax].
  static int64_t FirstGuess(double seconds, size_t searches, int64_t cells);

  // A placement with 256 experts on 64 ranks takes 0.7 ms with homes and ports priced.
  static constexpr double kSecondsOfACell = 5e-8;
  static constexpr int64_t kLeast = 16, kMost = 100'000;

 private:
  RobustLine line_{0.98};
  double evaluations_ = 0, seconds_ = 0;  // of looks before the line is known
};

}  // namespace ballast
