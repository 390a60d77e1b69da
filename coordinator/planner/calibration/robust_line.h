// RobustLine: time = alpha + beta * size of one class of resources, learned from noisy samples.
//
// Recursive least squares with exponential forgetting (Ljung, System Identification, 1999, section 11.2), in
// the form that keeps sums, on relative residuals because noise grows with what is measured. A Huber gate
// keeps outliers from moving the fit: residuals beyond three standard deviations count for a third of what
// the gate lets through at most. Where sizes hardly vary, alpha cannot be told from beta; it is then near 0.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace ballast {

// A value; copies are independent.
class RobustLine {
 public:
  // `forgetting`: weight of a sample when the next one comes, in (0, 1].
  explicit RobustLine(double forgetting = 0.995) : forgetting_(forgetting) {}

  // Size >= 0 and time > 0, finite, in any units; others say nothing and are left out.
  void Observe(double size, double time);

  // The first kWarmUp samples are only collected.
  static constexpr size_t kWarmUp = 16;
  bool known() const { return known_; }
  double alpha() const { return known_ ? theta_[0] * time_unit_ : 0; }
  double beta() const { return known_ ? theta_[1] * time_unit_ / size_unit_ : 0; }
  // What a sample of this size takes; above 0. Requires known().
  double At(double size) const;
  // Standard deviation of relative residuals, from clipped ones, at least 1 %.
  double sigma() const { return sigma_; }

 private:
  void Begin();
  void Update(double size, double time);
  double Scaled(double size) const;

  double forgetting_;
  bool known_ = false;
  std::vector<std::pair<double, double>> first_;  // until known
  double size_unit_ = 1, time_unit_ = 1;          // of the first samples
  std::array<double, 2> theta_{};                 // alpha, beta in these units
  std::array<double, 3> squares_{};               // sums of rows times rows: 00, 01, 11
  std::array<double, 2> products_{};              // of rows times times
  double sigma_ = 0.01;
};

}  // namespace ballast
