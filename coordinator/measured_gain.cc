#include "coordinator/measured_gain.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "plan/load.h"

namespace ballast {
namespace {

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

MeasuredGain MeasureGain(const PlanRecord& plan, const PlanBody* base, const JobConfig& job,
                         const std::deque<StepPoint>& points, const StepRing& reports) {
  const PlanStamp& stamp = plan.plan->stamp;
  const double tokens = static_cast<double>(job.training.global_batch_sequences) *
                        static_cast<double>(job.data.sequence_length);
  MeasuredGain gain;
  std::vector<double> seconds, seconds_before;
  for (const StepPoint& point : points) {
    const double step_seconds = point.tokens_per_s > 0 ? tokens / point.tokens_per_s : 0;
    if (point.plan == stamp.base_version && stamp.base_version.value() > 0) {
      seconds_before.push_back(step_seconds);
      gain.switch_seconds = step_seconds;  // its last step fills the new slots
      continue;
    }
    if (point.plan != stamp.version || gain.steps == kMeasuredStepsMax) continue;
    if (gain.steps++ == 0) {
      gain.from = point.step;
      gain.switch_seconds = std::max(gain.switch_seconds, step_seconds);
    }
    gain.to = point.step;
    gain.imbalance += point.imbalance;
    seconds.push_back(step_seconds);
  }
  if (gain.steps == 0) return {};
  gain.imbalance /= static_cast<double>(gain.steps);
  gain.step_seconds = Median(std::move(seconds));
  if (seconds_before.size() > static_cast<size_t>(kMeasuredStepsMax))
    seconds_before.erase(seconds_before.begin(), seconds_before.end() - kMeasuredStepsMax);
  gain.step_seconds_before = Median(std::move(seconds_before));
  if (base == nullptr) return gain;
  int64_t loads = 0;
  for (const std::shared_ptr<const StepReport>& report : reports.steps()) {
    if (report->step < gain.from || report->step > gain.to) continue;
    ++loads;
    gain.imbalance_without += PlannedImbalance(report->load, *base);
  }
  if (loads > 0) gain.imbalance_without /= static_cast<double>(loads);
  return gain;
}

}  // namespace ballast
