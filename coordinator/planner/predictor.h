// LoadHistory: the loads of the last steps and a forecast of the next.
//
// The forecast of a layer is the better of two members, "the last sample" and an exponentially weighted mean
// (EWMA), judged by their discounted error so far: early in training the last sample wins, later the mean
// does because single steps are mostly noise.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "absl/status/status.h"
#include "base/ids.h"
#include "plan/job_config.h"
#include "plan/load.h"

namespace ballast {

// A forecast's tokens are parts of this, so that layers compare whatever the batch.
inline constexpr int64_t kForecastTokens = int64_t{1} << 24;

// A value: copies are independent. Not thread-safe.
class LoadHistory {
 public:
  // Keeps the newest config.horizon_steps samples, but at least plan_every_steps.
  LoadHistory(const PlannerConfig& config, int layers, int experts);

  // Adds one step's load. Steps must rise, gaps are allowed. InvalidArgument, and nothing changed, when the
  // step is not newer than the last, the shape is wrong, or a count is negative or too large.
  absl::Status Observe(const StepLoad& load);

  // Forgets everything: after a resume from a checkpoint, or when the data changes by intent.
  void Reset();

  // Steps observed since the beginning or the last Reset.
  int64_t observed() const { return observed_; }
  // Oldest first.
  const std::deque<StepLoad>& samples() const { return samples_; }
  int layers() const { return static_cast<int>(members_.size()); }
  int experts() const { return experts_; }

  // [layer][expert] parts of kForecastTokens; all zero for a layer that has routed nothing yet.
  std::vector<std::vector<int64_t>> Forecast() const;

 private:
  struct Members {  // of one layer; shares of the layer's tokens
    std::vector<double> last;
    std::vector<double> mean;
    double last_error = 0;  // discounted total-variation errors
    double mean_error = 0;
    int64_t samples = 0;
  };

  const int experts_;
  const double weight_;  // of the newest sample in the mean
  const size_t samples_max_;
  int64_t observed_ = 0;
  std::deque<StepLoad> samples_;
  std::vector<Members> members_;
};

}  // namespace ballast
