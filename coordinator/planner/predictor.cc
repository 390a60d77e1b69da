#include "coordinator/planner/predictor.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "plan/balance.h"

namespace ballast {
namespace {

constexpr double kErrorDiscount = 0.9;

double TotalVariation(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::abs(a[i] - b[i]);
  return sum / 2;
}

}  // namespace

LoadHistory::LoadHistory(const PlannerConfig& config, int layers, int experts)
    : experts_(experts),
      weight_(config.predictor_ewma),
      samples_max_(
          static_cast<size_t>(std::max<int64_t>({1, config.horizon_steps, config.plan_every_steps}))),
      members_(static_cast<size_t>(layers)) {}

void LoadHistory::Reset() {
  observed_ = 0;
  samples_.clear();
  for (Members& members : members_) members = Members();
}

absl::Status LoadHistory::Observe(const StepLoad& load) {
  if (!samples_.empty() && load.step <= samples_.back().step) {
    return absl::InvalidArgumentError(absl::StrCat("load: found step ", load.step.value(),
                                                   ", allowed is above ", samples_.back().step.value()));
  }
  if (load.tokens.size() != members_.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("load: found ", load.tokens.size(), " layers, allowed is ", members_.size()));
  }
  for (size_t l = 0; l < load.tokens.size(); ++l) {
    if (load.tokens[l].size() != static_cast<size_t>(experts_)) {
      return absl::InvalidArgumentError(absl::StrCat("load of layer ", l, ": found ", load.tokens[l].size(),
                                                     " experts, allowed is ", experts_));
    }
    int64_t sum = 0;
    for (size_t e = 0; e < load.tokens[l].size(); ++e) {
      const int64_t count = load.tokens[l][e];
      if (count < 0 || count > kTokensMax - sum) {
        return absl::InvalidArgumentError(absl::StrCat("load of layer ", l, ", expert ", e, ": found ", count,
                                                       ", allowed 0.. and at most ", kTokensMax,
                                                       " in the layer"));
      }
      sum += count;
    }
  }

  for (size_t l = 0; l < load.tokens.size(); ++l) {
    double sum = 0;
    for (int64_t count : load.tokens[l]) sum += static_cast<double>(count);
    if (sum == 0) continue;
    std::vector<double> shares;
    for (int64_t count : load.tokens[l]) shares.push_back(static_cast<double>(count) / sum);
    Members& members = members_[l];
    if (members.samples++ == 0) {
      members.mean = shares;
    } else {
      members.last_error = kErrorDiscount * members.last_error + TotalVariation(members.last, shares);
      members.mean_error = kErrorDiscount * members.mean_error + TotalVariation(members.mean, shares);
      for (size_t e = 0; e < shares.size(); ++e) members.mean[e] += weight_ * (shares[e] - members.mean[e]);
    }
    members.last = std::move(shares);
  }
  samples_.push_back(load);
  if (samples_.size() > samples_max_) samples_.pop_front();
  ++observed_;
  return absl::OkStatus();
}

std::vector<std::vector<int64_t>> LoadHistory::Forecast() const {
  std::vector<std::vector<int64_t>> forecast;
  for (const Members& members : members_) {
    std::vector<int64_t> tokens(static_cast<size_t>(experts_), 0);
    if (members.samples > 0) {
      const std::vector<double>& shares =
          members.last_error <= members.mean_error ? members.last : members.mean;
      for (size_t e = 0; e < tokens.size(); ++e) {
        tokens[e] = std::llround(shares[e] * static_cast<double>(kForecastTokens));
      }
    }
    forecast.push_back(std::move(tokens));
  }
  return forecast;
}

}  // namespace ballast
