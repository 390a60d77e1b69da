#include "coordinator/planner/calibration/robust_line.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace ballast {
namespace {

constexpr double kGate = 3;            // standard deviations
constexpr double kOutlierShare = 0.3;  // of the gate's width that an outlier may pull
constexpr double kSigmaFloor = 0.01;
constexpr double kSigmaWeight = 0.01;  // of the newest squared residual
constexpr double kAlphaPrior = 0.05;  // standard deviation of alpha before anything is known, of a usual time
constexpr double kLeast = 1e-6;       // of the first samples' time: no time is 0

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

double RobustLine::Scaled(double size) const {
  return std::max(kLeast, theta_[0] + theta_[1] * size / size_unit_);
}

double RobustLine::At(double size) const {
  BALLAST_CHECK(known_) << "the line is not known yet";
  return Scaled(size) * time_unit_;
}

void RobustLine::Observe(double size, double time) {
  if (!std::isfinite(size) || !std::isfinite(time) || size < 0 || time <= 0) return;
  if (known_) return Update(size, time);
  first_.emplace_back(size, time);
  if (first_.size() == kWarmUp) Begin();
}

// Through the origin at first, by medians: one of the first samples may be an outlier.
void RobustLine::Begin() {
  std::vector<double> sizes, times;
  for (const auto& [size, time] : first_) {
    sizes.push_back(size);
    times.push_back(time);
  }
  time_unit_ = Median(times);
  const double size = Median(sizes);
  size_unit_ = size > 0 ? size : 1;
  theta_ = {size > 0 ? 0.0 : 1.0, size > 0 ? 1.0 : 0.0};
  std::vector<double> residuals;
  for (const auto& [s, t] : first_) residuals.push_back(std::fabs(t / time_unit_ / Scaled(s) - 1));
  sigma_ = std::max(kSigmaFloor, 1.4826 * Median(std::move(residuals)));
  known_ = true;
  for (const auto& [s, t] : first_) Update(s, t);
  first_.clear();
}

void RobustLine::Update(double size, double time) {
  const double expected = Scaled(size);
  // Relative: the row and the target are divided by what was expected.
  const double row0 = 1 / expected, row1 = size / size_unit_ / expected;
  const double residual = time / time_unit_ / expected - 1;
  const double gate = kGate * sigma_;
  const double weight = std::fabs(residual) <= gate ? 1 : kOutlierShare * gate / std::fabs(residual);
  const double clipped = std::clamp(residual, -gate, gate);
  sigma_ = std::max(kSigmaFloor,
                    std::sqrt((1 - kSigmaWeight) * sigma_ * sigma_ + kSigmaWeight * clipped * clipped));

  const double target = time / time_unit_ / expected;
  for (double& value : squares_) value *= forgetting_;
  for (double& value : products_) value *= forgetting_;
  squares_[0] += weight * row0 * row0;
  squares_[1] += weight * row0 * row1;
  squares_[2] += weight * row1 * row1;
  products_[0] += weight * row0 * target;
  products_[1] += weight * row1 * target;

  const double s00 = squares_[0] + sigma_ * sigma_ / (kAlphaPrior * kAlphaPrior), s11 = squares_[2] + 1e-9;
  const double determinant = s00 * s11 - squares_[1] * squares_[1];
  if (row1 == 0 && squares_[2] == 0) {  // all sizes are 0: alpha is all there is
    theta_ = {products_[0] / squares_[0], 0};
  } else {
    theta_[0] = (products_[0] * s11 - products_[1] * squares_[1]) / determinant;
    theta_[1] = (products_[1] * s00 - products_[0] * squares_[1]) / determinant;
  }
}

}  // namespace ballast
