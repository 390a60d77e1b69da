#include "coordinator/planner/layer/predictor_bank.h"

#include <algorithm>
#include <cmath>

namespace ballast {
namespace {

constexpr double kWeights[] = {0.7, 0.5, 0.3, 0.2, 0.1};
constexpr size_t kMeans = sizeof(kWeights) / sizeof(kWeights[0]);
constexpr size_t kMembers = kMeans + 2;
constexpr double kDiscount = 0.9;
constexpr double kLevel = 0.3;
constexpr double kTrend = 0.1;
constexpr double kDamping = 0.9;
// Before so many samples, nothing but the last says anything.
constexpr int64_t kSettled = 3;

}  // namespace

PredictorBank::PredictorBank(int experts, int horizon)
    : experts_(experts), horizon_(static_cast<size_t>(std::max(1, horizon))) {
  Reset();
}

void PredictorBank::Reset() {
  observed_ = 0;
  weight_ = 0;
  made_.clear();
  errors_.assign(kMembers, 0);
  squares_.assign(kMembers, std::vector<double>(static_cast<size_t>(experts_), 0));
  last_.clear();
}

void PredictorBank::Observe(const std::vector<int64_t>& tokens) {
  double sum = 0;
  for (int64_t t : tokens) sum += static_cast<double>(t);
  if (sum <= 0) return;
  Shares now;
  for (int64_t t : tokens) now.push_back(static_cast<double>(t) / sum);
  if (made_.size() == horizon_) {
    weight_ = kDiscount * weight_ + 1;
    for (size_t m = 0; m < kMembers; ++m) {
      double distance = 0;
      for (size_t e = 0; e < now.size(); ++e) {
        const double error = now[e] - made_.front()[m][e];
        distance += std::abs(error);
        squares_[m][e] = kDiscount * squares_[m][e] + error * error;
      }
      errors_[m] = kDiscount * errors_[m] + distance / 2;
    }
    made_.pop_front();
  }
  if (observed_++ == 0) {
    means_.assign(kMeans, now);
    level_ = now;
    trend_.assign(now.size(), 0);
  } else {
    for (size_t m = 0; m < kMeans; ++m) {
      for (size_t e = 0; e < now.size(); ++e) means_[m][e] += kWeights[m] * (now[e] - means_[m][e]);
    }
    for (size_t e = 0; e < now.size(); ++e) {
      const double expected = level_[e] + kDamping * trend_[e];
      const double level = expected + kLevel * (now[e] - expected);
      trend_[e] = kDamping * trend_[e] + kTrend * (level - level_[e] - kDamping * trend_[e]);
      level_[e] = level;
    }
  }
  last_ = std::move(now);
  made_.push_back(Members());
}

std::vector<PredictorBank::Shares> PredictorBank::Members() const {
  std::vector<Shares> members{last_};
  members.insert(members.end(), means_.begin(), means_.end());
  double damped = 0, factor = 1;
  for (size_t i = 0; i < horizon_; ++i) damped += factor *= kDamping;
  Shares holt;
  for (size_t e = 0; e < level_.size(); ++e) holt.push_back(std::max(0.0, level_[e] + damped * trend_[e]));
  members.push_back(std::move(holt));
  return members;
}

size_t PredictorBank::Best() const {
  if (observed_ < kSettled) return 0;
  return static_cast<size_t>(std::min_element(errors_.begin(), errors_.end()) - errors_.begin());
}

std::vector<int64_t> PredictorBank::Forecast() const {
  std::vector<int64_t> forecast(static_cast<size_t>(experts_), 0);
  if (observed_ == 0) return forecast;
  const Shares& shares = made_.back()[Best()];
  for (size_t e = 0; e < forecast.size(); ++e) {
    forecast[e] = std::llround(shares[e] * static_cast<double>(kForecastLoad));
  }
  return forecast;
}

double PredictorBank::spread(int expert) const {
  return weight_ > 0 ? std::sqrt(squares_[Best()][expert] / weight_) : 0;
}

}  // namespace ballast
