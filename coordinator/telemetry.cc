#include "coordinator/telemetry.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "plan/load.h"

namespace ballast {
namespace {

constexpr size_t kPaceSteps = 20;

absl::Status Wrong(const std::string& field, const std::string& found, const std::string& allowed) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": found ", found, ", allowed ", allowed));
}

// `height` rows of `width` counts, none negative.
absl::Status CheckMatrix(const std::string& field, const std::vector<std::vector<int64_t>>& counts,
                         int height, int width) {
  if (static_cast<int>(counts.size()) != height) {
    return Wrong(field, absl::StrCat(counts.size(), " layers"), absl::StrCat(height));
  }
  for (size_t layer = 0; layer < counts.size(); ++layer) {
    const std::string row = absl::StrCat(field, "[", layer, "]");
    if (static_cast<int>(counts[layer].size()) != width) {
      return Wrong(row, absl::StrCat(counts[layer].size(), " counts"), absl::StrCat(width));
    }
    for (size_t i = 0; i < counts[layer].size(); ++i) {
      if (counts[layer][i] >= 0) continue;
      return Wrong(absl::StrCat(row, "[", i, "]"), absl::StrCat(counts[layer][i]), "at least 0");
    }
  }
  return absl::OkStatus();
}

// Adds `point` to the points, which rise, where it belongs.
template <class Points>
void Insert(const StepPoint& point, Points& points) {
  points.insert(std::upper_bound(points.begin(), points.end(), point.step,
                                 [](Step step, const StepPoint& other) { return step < other.step; }),
                point);
}

// The steps that train on other data than the step before, by the job's intent.
std::vector<Step> DataChanges(const DataConfig& data) {
  std::vector<Step> changes;
  for (size_t phase = 1; phase < data.mixture.size(); ++phase) {
    if (data.mixture[phase].weights != data.mixture[phase - 1].weights)
      changes.push_back(data.mixture[phase].from_step);
  }
  return changes;
}

}  // namespace

Telemetry::Telemetry(const JobConfig& job, size_t recent_steps_max, const RetentionOptions& retention)
    : layers_(job.model.layers),
      experts_(job.model.moe.experts),
      ranks_(job.placement.ranks),
      steps_(job.training.steps),
      recent_steps_max_(recent_steps_max),
      data_changes_(DataChanges(job.data)),
      history_(job.planner, job.model.layers, job.model.moe.experts),
      tokens_(job.model.layers, job.model.moe.experts, job.model.moe.top_k),
      steps_ring_(retention),
      ranks_steps_(retention, job.placement.ranks) {}

absl::Status Telemetry::CheckShape(const StepReport& report) const {
  if (report.step.value() < 1 || report.step.value() > steps_) {
    return Wrong("step", absl::StrCat(report.step.value()), absl::StrCat("1..", steps_));
  }
  BALLAST_RETURN_IF_ERROR(CheckMatrix("load.tokens", report.load.tokens, layers_, experts_));
  BALLAST_RETURN_IF_ERROR(CheckMatrix("rank_tokens", report.rank_tokens, layers_, ranks_));
  if (!std::isfinite(report.step_seconds) || report.step_seconds < 0) {
    return Wrong("step_seconds", absl::StrCat(report.step_seconds), "at least 0");
  }
  if (report.tokens < 0) return Wrong("tokens", absl::StrCat(report.tokens), "at least 0");
  return absl::OkStatus();
}

absl::StatusOr<StepPoint> Telemetry::OnReport(const StepReport& report, JobRecord& record,
                                              const std::vector<uint32_t>* speeds) {
  BALLAST_RETURN_IF_ERROR(CheckShape(report));
  if (Known(report.step)) {
    return absl::AlreadyExistsError(absl::StrCat("step ", report.step.value(), " was reported before"));
  }
  const bool late = !recent_.empty() && report.step < recent_.back().step;
  if (!late) {
    StepLoad load = report.load;
    load.step = report.step;
    if (DataChangeBefore(load.step)) history_.Reset();
    BALLAST_RETURN_IF_ERROR(history_.Observe(load));
  }
  seconds_.push_back(report.step_seconds);
  if (seconds_.size() > kPaceSteps) seconds_.pop_front();

  StepPoint point;
  point.step = report.step;
  point.plan = report.plan;
  point.loss = report.loss;
  point.gradient_norm = report.gradient_norm;
  point.tokens_per_s = report.step_seconds > 0 ? static_cast<double>(report.tokens) / report.step_seconds : 0;
  for (const std::vector<int64_t>& layer : report.rank_tokens)
    point.imbalance += (speeds == nullptr ? MaxOverMean(layer) : MaxOverMean(layer, *speeds)) / layers_;
  point.contiguous_imbalance = ContiguousImbalance(report.load, ranks_);
  point.eta_s = EtaSeconds(report.step);

  Insert(point, recent_);
  if (recent_.size() > recent_steps_max_) {
    settled_ = recent_.front().step;
    recent_.pop_front();
  }
  // It may have been read back from before this leader.
  if (!HasLoad(report.step)) steps_ring_.Add(report);
  record.step = std::max(record.step, report.step);
  record.trained_seconds += report.step_seconds;
  record.trained_tokens += report.tokens;
  Insert(point, record.last_steps);
  if (record.last_steps.size() > kLastStepsMax) record.last_steps.erase(record.last_steps.begin());
  return point;
}

bool Telemetry::DataChangeBefore(Step step) const {
  const std::deque<StepLoad>& samples = history_.samples();
  return !samples.empty() && std::any_of(data_changes_.begin(), data_changes_.end(), [&](Step change) {
    return samples.back().step < change && change <= step;
  });
}

bool Telemetry::Known(Step step) const {
  auto point = std::lower_bound(recent_.begin(), recent_.end(), step,
                                [](const StepPoint& other, Step wanted) { return other.step < wanted; });
  return step <= settled_ || (point != recent_.end() && point->step == step);
}

absl::Status Telemetry::OnTokenReport(TokenReport report, const TokenSampling& sampling) {
  if (report.step.value() > steps_) {
    return Wrong("step", absl::StrCat(report.step.value()), absl::StrCat("1..", steps_));
  }
  BALLAST_RETURN_IF_ERROR(
      CheckTokenReport(report, sampling, ranks_, tokens_.layers(), tokens_.top_k(), tokens_.experts()));
  // Where data change, tokens of before say nothing of those that follow.
  const bool empty = tokens_.sequences().empty();
  const Step newest = empty ? report.step : std::max(report.step, tokens_.sequences().back()->step);
  for (const Step change : data_changes_) {
    if (change > newest) continue;
    tokens_.ForgetBefore(change);
    if (report.step < change) return absl::OkStatus();
  }
  tokens_.Add(report.step, report.rank, report.tokens, std::move(report.choices));
  return absl::OkStatus();
}

bool Telemetry::OnEvaluation(const EvaluationReport& report, JobRecord& record) {
  for (const EvaluationPoint& known : record.evaluations) {
    if (known.step == report.step && known.source == report.source) return false;
  }
  // The first evaluation is what the last one is compared with: the bound drops from the middle.
  const size_t sources = record.config->data.sources.size();
  if (record.evaluations.size() >= kEvaluationsMax && record.evaluations.size() > sources) {
    record.evaluations.erase(record.evaluations.begin() + static_cast<ptrdiff_t>(sources));
  }
  record.evaluations.push_back(EvaluationPoint{report.step, report.source, report.loss});
  return true;
}

void Telemetry::Restore(const JobRecord& record) {
  recent_.assign(record.last_steps.begin(), record.last_steps.end());
  settled_ = recent_.empty() ? record.step : recent_.front().step;
}

bool Telemetry::HasLoad(Step step) const {
  const auto& steps = steps_ring_.steps();
  const auto place = std::lower_bound(
      steps.begin(), steps.end(), step,
      [](const std::shared_ptr<const StepReport>& other, Step wanted) { return other->step < wanted; });
  return place != steps.end() && (*place)->step == step;
}

void Telemetry::RestoreLoad(StepReport report, const JobRecord& record) {
  const bool fits = CheckMatrix("load.tokens", report.load.tokens, layers_, experts_).ok();
  const bool rises = steps_ring_.steps().empty() || steps_ring_.steps().back()->step < report.step;
  // A recovery undoes what earlier generations did beyond the record's step.
  const bool stands = report.step <= record.step || report.generation == record.generation;
  if (fits && rises && stands) steps_ring_.Add(std::move(report));
}

void Telemetry::ForgetAfter(Step completed, JobRecord& record) {
  const auto undone = [completed](const auto& point) { return point.step > completed; };
  std::erase_if(recent_, undone);
  std::erase_if(record.last_steps, undone);
  std::erase_if(record.evaluations, undone);
  record.step = std::min(record.step, completed);
  settled_ = std::min(settled_, completed);
  // Another placement has another pace and other rows, and loads repeat from `completed` on.
  seconds_.clear();
  history_.Reset();
  tokens_.Reset();
  steps_ring_.ForgetAfter(completed);
}

double Telemetry::EtaSeconds(Step step) const {
  if (seconds_.empty() || step.value() >= steps_) return 0;
  const double sum = std::accumulate(seconds_.begin(), seconds_.end(), 0.0);
  return sum / static_cast<double>(seconds_.size()) * static_cast<double>(steps_ - step.value());
}

}  // namespace ballast
