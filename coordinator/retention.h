// What the coordinator keeps of the reports it gets: the newest, within fixed bounds.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "base/ids.h"
#include "protocol/messages.h"
#include "protocol/telemetry.h"

namespace ballast {

// Bounds of one job. What goes beyond them is the oldest, but the newest step always stays.
struct RetentionOptions {
  size_t steps_max = 4096;           // full layer x expert and layer x rank counts
  size_t step_bytes_max = 64 << 20;  // of them
  size_t rank_steps_max = 64;        // phase and link times, per rank
  size_t rank_bytes_max = 64 << 20;  // of all ranks, an equal part each
};

// Full reports of the last steps.
class StepRing {
 public:
  explicit StepRing(const RetentionOptions& options) : options_(options) {}
  // No other report of this step may be there; a late one goes where it belongs.
  void Add(StepReport report);
  // Steps after `completed` did not happen: they are trained again.
  void ForgetAfter(Step completed);
  // Rising. Immutable, so that many of them are handed out at no cost.
  const std::deque<std::shared_ptr<const StepReport>>& steps() const { return steps_; }

 private:
  const RetentionOptions options_;
  std::deque<std::shared_ptr<const StepReport>> steps_;
  size_t bytes_ = 0;  // derived
};

// Phase and link times of every rank of one generation.
class RankRings {
 public:
  RankRings(const RetentionOptions& options, int ranks);
  // Steps that are known already are left out. InvalidArgument names the field that cannot be; nothing is
  // taken then.
  absl::Status Add(const RankReport& report);
  // Forgets everything: the next generation has other ranks.
  void Reset(int ranks);

  int ranks() const { return static_cast<int>(rings_.size()); }
  // Oldest first; empty before the rank's first report.
  const std::deque<RankStep>& of(Rank rank) const { return rings_[rank.index()].steps; }

 private:
  struct Ring {
    std::deque<RankStep> steps;
    size_t bytes = 0;
  };
  absl::Status Check(const RankReport& report) const;

  const RetentionOptions options_;
  std::vector<Ring> rings_;
};

}  // namespace ballast
