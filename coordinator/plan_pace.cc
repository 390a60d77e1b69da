#include "coordinator/plan_pace.h"

#include <algorithm>
#include <cmath>

#include "coordinator/planner/layer/layer_strategy.h"

namespace ballast {
namespace {

int64_t OfEach(double all, size_t searches, int64_t most) {
  const double each = all / static_cast<double>(std::max<size_t>(1, searches));
  return static_cast<int64_t>(
      std::clamp(each, static_cast<double>(PlanPace::kLeast), static_cast<double>(most)));
}

}  // namespace

void PlanPace::Observe(int64_t evaluations, double seconds) {
  if (evaluations <= 0 || !(seconds > 0) || !std::isfinite(seconds)) return;
  line_.Observe(static_cast<double>(evaluations), seconds);
  evaluations_ += static_cast<double>(evaluations);
  seconds_ += seconds;
}

int64_t PlanPace::EvaluationsIn(double seconds, size_t searches, int64_t unknown) const {
  if (evaluations_ == 0) return unknown;
  // All of the time is laid to placements as long as the rest cannot be told apart: too few rather than too
  // many.
  double all = seconds * evaluations_ / seconds_;
  if (line_.known() && line_.beta() > 0) all = (seconds - std::max(0.0, line_.alpha())) / line_.beta();
  return OfEach(all, searches, kMost);
}

int64_t PlanPace::FirstGuess(double seconds, size_t searches, int64_t cells) {
  return OfEach(seconds / (kSecondsOfACell * static_cast<double>(std::max<int64_t>(1, cells))), searches,
                kPlacementsMax);
}

}  // namespace ballast
