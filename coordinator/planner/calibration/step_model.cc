#include "coordinator/planner/calibration/step_model.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace ballast {

namespace {

double MedianOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

}  // namespace

double ModelGuard::median_error() const {
  return errors_.empty() ? 0 : MedianOf({errors_.begin(), errors_.end()});
}

double ModelGuard::doubt() const {
  std::vector<double> deviations;
  for (double error : errors_) deviations.push_back(std::fabs(error - median_error()));
  // Twice the standard error of a median.
  return 2 * 1.2533 * 1.4826 * MedianOf(std::move(deviations)) /
         std::sqrt(static_cast<double>(errors_.size()));
}

bool ModelGuard::Observe(double predicted, double measured) {
  if (!(measured > 0)) return false;
  errors_.push_back((predicted - measured) / measured);
  if (errors_.size() > options_.steps) errors_.pop_front();
  const bool wrong = std::fabs(median_error()) > options_.error + doubt();
  if (trusted_ && wrong && errors_.size() == options_.steps) {
    trusted_ = false;
    errors_.clear();
    return true;
  }
  if (!trusted_ && !wrong && errors_.size() >= options_.again) trusted_ = true;
  return false;
}

bool StepModel::Observe(double busiest, double seconds_per_row, double seconds) {
  if (!(seconds_per_row > 0) || !(seconds > 0)) return false;
  const std::optional<double> predicted = Predict(busiest);
  bool tripped = false;
  if (predicted) tripped = guard_.Observe(*predicted, seconds);
  if (tripped) rest_ = RobustLine(0.97);
  row_ = seconds_per_row;
  // A constant: all samples are of one size. Where the experts seem to take more than the whole step (ranks
  // that share processors), nothing is left for the rest.
  rest_.Observe(0, std::max(seconds - row_ * busiest, 1e-3 * seconds));
  return tripped;
}

std::optional<double> StepModel::Predict(double busiest) const {
  if (!rest_.known()) return std::nullopt;
  return rest_.At(0) + row_ * busiest;
}

}  // namespace ballast
