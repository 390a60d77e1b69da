// The ladder of reactions to slow GPUs and ports (calibration.h) in a replay.
//
// A token takes its computing and its way over the port of the rank that computes it, as replay's costs have
// it. (1) At once: tokens are split by what they take on each rank. (2) From a slowdown of 1.2 on plans are
// made at once. (3) A slow port: tokens of its rank take so much longer, and so do its copies and writes. (4)
// Below 0.3: the rank has no slots, as long as the others can hold all experts.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "coordinator/planner/layer/layer_task.h"
#include "replay/replay.h"
#include "replay/telemetry_table.h"

namespace ballast {

class Reactions {
 public:
  // What a change of times asks for.
  enum class Wanted { kNothing, kSplit, kPlan };

  // `task`: one with all slots. `port_share`: of what a token takes on a healthy rank, what its way takes;
  // nothing: as the table says. The table must outlive this.
  Reactions(const TelemetryTable& table, const LayerTask& task, std::optional<double> port_share);

  // Takes in what was measured before `step` and writes speeds and slots for it into `task`.
  Wanted ObserveBefore(int step, LayerTask& task);

  // [rank] of ports; empty: all are healthy.
  const std::vector<double>& port_slowdowns() const { return port_slowdowns_; }
  const std::vector<ReplayReaction>& taken() const { return taken_; }

 private:
  void PriceTokens(LayerTask& task) const;
  void NameWhatIsDone(size_t from, Step now, const std::vector<int>& slots_before, const LayerTask& task);

  TelemetryFeed feed_;
  const std::vector<int> slots_;
  const std::optional<double> port_share_;
  std::vector<uint32_t> compute_, ports_;  // [rank] as published
  std::vector<double> port_slowdowns_;
  std::vector<ReplayReaction> taken_;
  size_t seen_ = 0;  // events of the feed
};

}  // namespace ballast
