#include "coordinator/retention.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace ballast {
namespace {

size_t Bytes(const std::vector<std::vector<int64_t>>& table) {
  size_t bytes = 0;
  for (const std::vector<int64_t>& row : table) bytes += row.size() * sizeof(int64_t) + sizeof(row);
  return bytes;
}
size_t Bytes(const StepReport& report) {
  return sizeof(report) + Bytes(report.load.tokens) + Bytes(report.rank_tokens);
}
size_t Bytes(const RankStep& step) { return sizeof(step) + step.links.size() * sizeof(LinkUse); }

absl::Status Wrong(const std::string& field, const std::string& found, const std::string& allowed) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": found ", found, ", allowed ", allowed));
}

absl::Status CheckSeconds(const std::string& field, double seconds) {
  if (std::isfinite(seconds) && seconds >= 0) return absl::OkStatus();
  return Wrong(field, absl::StrCat(seconds), "at least 0");
}

absl::Status CheckLink(const std::string& path, const LinkUse& link, int ranks) {
  if (link.peer.value() < 0 || link.peer.value() >= ranks) {
    return Wrong(path + ".peer", absl::StrCat(link.peer.value()), absl::StrCat("0..", ranks - 1));
  }
  if (link.bytes_sent < 0) return Wrong(path + ".bytes_sent", absl::StrCat(link.bytes_sent), "at least 0");
  if (link.bytes_received < 0) {
    return Wrong(path + ".bytes_received", absl::StrCat(link.bytes_received), "at least 0");
  }
  if (link.timed_messages < 0) {
    return Wrong(path + ".timed_messages", absl::StrCat(link.timed_messages), "at least 0");
  }
  if (link.timed_bytes < 0) return Wrong(path + ".timed_bytes", absl::StrCat(link.timed_bytes), "at least 0");
  BALLAST_RETURN_IF_ERROR(CheckSeconds(path + ".timed_seconds", link.timed_seconds));
  return CheckSeconds(path + ".receive_seconds", link.receive_seconds);
}

}  // namespace

void StepRing::Add(StepReport report) {
  bytes_ += Bytes(report);
  const auto place = std::upper_bound(
      steps_.begin(), steps_.end(), report.step,
      [](Step step, const std::shared_ptr<const StepReport>& other) { return step < other->step; });
  steps_.insert(place, std::make_shared<const StepReport>(std::move(report)));
  while (steps_.size() > 1 && (steps_.size() > options_.steps_max || bytes_ > options_.step_bytes_max)) {
    bytes_ -= Bytes(*steps_.front());
    steps_.pop_front();
  }
}

void StepRing::ForgetAfter(Step completed) {
  while (!steps_.empty() && steps_.back()->step > completed) {
    bytes_ -= Bytes(*steps_.back());
    steps_.pop_back();
  }
}

RankRings::RankRings(const RetentionOptions& options, int ranks)
    : options_(options), rings_(static_cast<size_t>(ranks)) {}

void RankRings::Reset(int ranks) { rings_.assign(static_cast<size_t>(ranks), {}); }

absl::Status RankRings::Add(const RankReport& report) {
  BALLAST_RETURN_IF_ERROR(Check(report));
  Ring& ring = rings_[report.rank.index()];
  const size_t bytes_max = options_.rank_bytes_max / rings_.size();
  for (const RankStep& step : report.steps) {
    if (!ring.steps.empty() && step.step <= ring.steps.back().step) continue;
    ring.bytes += Bytes(step);
    ring.steps.push_back(step);
    while (ring.steps.size() > 1 && (ring.steps.size() > options_.rank_steps_max || ring.bytes > bytes_max)) {
      ring.bytes -= Bytes(ring.steps.front());
      ring.steps.pop_front();
    }
  }
  return absl::OkStatus();
}

absl::Status RankRings::Check(const RankReport& report) const {
  if (report.rank.value() < 0 || report.rank.value() >= ranks()) {
    return Wrong("rank", absl::StrCat(report.rank.value()), absl::StrCat("0..", ranks() - 1));
  }
  if (report.steps.size() > kRankReportStepsMax) {
    return Wrong("steps", absl::StrCat(report.steps.size()), absl::StrCat("0..", kRankReportStepsMax));
  }
  for (size_t i = 0; i < report.steps.size(); ++i) {
    const RankStep& step = report.steps[i];
    const std::string path = absl::StrCat("steps[", i, "]");
    if (step.step.value() < 1 || (i > 0 && step.step <= report.steps[i - 1].step)) {
      return Wrong(path + ".step", absl::StrCat(step.step.value()), "rising from 1");
    }
    BALLAST_RETURN_IF_ERROR(CheckSeconds(path + ".seconds", step.seconds));
    BALLAST_RETURN_IF_ERROR(CheckSeconds(path + ".wait_seconds", step.wait_seconds));
    if (step.assignments < 0) {
      return Wrong(path + ".assignments", absl::StrCat(step.assignments), "at least 0");
    }
    if (step.bytes_sent < 0) return Wrong(path + ".bytes_sent", absl::StrCat(step.bytes_sent), "at least 0");
    if (step.bytes_received < 0) {
      return Wrong(path + ".bytes_received", absl::StrCat(step.bytes_received), "at least 0");
    }
    for (size_t phase = 0; phase < kPhases; ++phase) {
      BALLAST_RETURN_IF_ERROR(
          CheckSeconds(absl::StrCat(path, ".phase_seconds.", ToString(static_cast<Phase>(phase))),
                       step.phase_seconds[phase]));
    }
    if (step.links.size() > kRankLinksMax) {
      return Wrong(path + ".links", absl::StrCat(step.links.size()), absl::StrCat("0..", kRankLinksMax));
    }
    for (size_t k = 0; k < step.links.size(); ++k) {
      BALLAST_RETURN_IF_ERROR(CheckLink(absl::StrCat(path, ".links[", k, "]"), step.links[k], ranks()));
    }
  }
  return absl::OkStatus();
}

}  // namespace ballast
