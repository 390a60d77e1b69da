// TelemetryTable: recorded times of GPUs, and who was slow by them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/planner/calibration/calibration.h"

namespace ballast {

// What one GPU did in one step.
struct GpuTimes {
  double tokens = 0;      // rows that its experts computed
  double compute_ms = 0;  // of them
  double nic_bytes = 0;   // over its network port
  double nic_ms = 0;      // of them
};

// Times by step and GPU; a value.
class TelemetryTable {
 public:
  // Comma-separated text whose first line names the columns step, gpu, tokens, compute_ms, nic_bytes and
  // nic_ms in any order; steps are rows of the loads. InvalidArgument names line and column, the value found
  // and what is allowed: a missing or unknown column, a value that is no number, NaN, infinite or negative, a
  // GPU or step that is not there, a pair of step and GPU that occurs twice.
  static absl::StatusOr<TelemetryTable> Parse(const std::string& text, int gpus, int steps);

  int gpus() const { return gpus_; }
  // [step] -> [gpu]; steps without any line are left out.
  const std::map<int, std::vector<std::optional<GpuTimes>>>& steps() const { return steps_; }

 private:
  int gpus_ = 0;
  std::map<int, std::vector<std::optional<GpuTimes>>> steps_;
};

// Feeds a table to the calibration, step by step. The table must outlive it.
class TelemetryFeed {
 public:
  explicit TelemetryFeed(const TelemetryTable& table)
      : table_(table), compute_(Resource::kCompute, table.gpus()), ports_(Resource::kPort, table.gpus()) {}

  // Takes in what was measured in steps before `step`.
  void ObserveBefore(int step);
  // [gpu] parts per 2^16 of a healthy GPU or port, as estimated now.
  std::vector<uint32_t> speeds() const { return SpeedsOf(compute_.slowdowns()); }
  std::vector<uint32_t> port_speeds() const { return SpeedsOf(ports_.slowdowns()); }
  // What a healthy port takes for what it usually carries in a step, over that and what a healthy GPU takes
  // for its usual tokens; 0 until both are known.
  double port_share() const;
  // Who was found slow or healthy again, in the order of steps.
  const std::vector<SlowEvent>& events() const { return events_; }

 private:
  struct Sizes {
    double sum = 0, count = 0;
    double mean() const { return sum / count; }
  };

  const TelemetryTable& table_;
  ResourceClass compute_;  // tokens, ms
  ResourceClass ports_;    // bytes, ms
  Sizes tokens_, bytes_;
  int next_ = 0;  // the first step not taken in
  std::vector<SlowEvent> events_;
};

}  // namespace ballast
