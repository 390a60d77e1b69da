// PredictorBank: the forecast of one layer's expert loads, by whichever simple predictor has lately been
// best.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

namespace ballast {

// A forecast's loads are parts of this, so that samples of any size compare.
inline constexpr int64_t kForecastLoad = int64_t{1} << 30;

// Members: the last sample; exponentially weighted means (weights .7, .5, .3, .2, .1); Holt's linear trend
// (level .3, trend .1), damped (.9). Each is judged by the exponentially discounted (.9) total-variation
// error of what it forecast `horizon` samples ago. Undamped trends are 2 to 4 times worse and are not here.
// A value; copies are independent.
class PredictorBank {
 public:
  // `horizon` of at least 1, in samples: how far ahead the forecast is used.
  PredictorBank(int experts, int horizon);

  // One sample, by expert, none negative. A sample without tokens says nothing and is skipped.
  void Observe(const std::vector<int64_t>& tokens);

  // After a resume from a checkpoint or a change of data: back to "last sample".
  void Reset();

  // [expert] parts of kForecastLoad; all zero before the first sample.
  std::vector<int64_t> Forecast() const;

  int64_t observed() const { return observed_; }
  // Root mean square (discounted) of the best member's error for one expert, as a share of all tokens.
  double spread(int expert) const;

 private:
  using Shares = std::vector<double>;
  std::vector<Shares> Members() const;
  size_t Best() const;

  const int experts_;
  const size_t horizon_;
  int64_t observed_ = 0;
  Shares last_;
  std::vector<Shares> means_;
  Shares level_, trend_;
  std::deque<std::vector<Shares>> made_;      // the members' forecasts of the last `horizon` samples
  std::vector<double> errors_;                // [member]
  std::vector<std::vector<double>> squares_;  // [member][expert]
  double weight_ = 0;                         // discounted number of judged forecasts
};

}  // namespace ballast
