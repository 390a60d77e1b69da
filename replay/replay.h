// Replay: what a strategy would have done on recorded loads, and what that would have cost.
//
// Row 0 runs on the contiguous placement. A plan for row t is made from rows before t alone (PastLoads).
// Pure: the clock that measures planning is passed in.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/planner/calibration/calibration.h"
#include "coordinator/planner/layer/layer_task.h"
#include "replay/load_trace.h"
#include "replay/replay_options.h"

namespace ballast {

struct LayerFigures {
  double max_over_mean = 1;
  int slot_writes = 0;
  int replans = 0;
};

struct Hours {
  double step = 0, sync = 0, migration = 0;
  double total() const { return step + sync + migration; }
};

struct ReplayFigures {
  double max_over_mean = 1;  // sum over (step, layer, microbatch) of the busiest rank's tokens / of the means
  double static_max_over_mean = 1;  // of the contiguous placement
  double slot_writes_per_layer = 0;
  double replans_per_layer = 0;
  int writes_max = 0;  // of one re-plan of one layer, the rows of the start aside
  std::optional<double> oracle_max_over_mean;
  std::optional<double> bound_with_replicas;
  std::optional<double> bound_no_replicas;
  std::optional<double> share_of_oracle_gain;
  std::optional<Hours> hours;
  std::vector<LayerFigures> layers;
  double plan_ms_p50 = 0, plan_ms_p99 = 0;  // of a row's planning of all layers
};

// Who was found slow or healthy again, and what was done about it.
struct ReplayReaction {
  SlowEvent event;
  Reaction reaction = Reaction::kNone;
};

struct ReplayResult {
  ReplayFigures figures;
  std::vector<ReplayReaction> slow;  // by step; also whom a moved estimate drains, or gives experts again
  std::vector<SlotTable> last;       // [layer] what holds behind the last row
  // [layer][row from options.from on]: busiest rank / mean over the row's microbatches, and slot writes
  // before it.
  std::vector<std::vector<double>> imbalance;
  std::vector<std::vector<double>> slot_writes;
};

// NotFound for an unknown strategy; InvalidArgument for options that are impossible for the trace.
absl::StatusOr<ReplayResult> Replay(const LoadTrace& trace, const ReplayOptions& options);

}  // namespace ballast
