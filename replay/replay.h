// Replay: what a strategy would have done on recorded loads, and what that would have cost.
//
// Row 0 runs on the contiguous placement. A plan for row t is made from rows before t alone (PastLoads).
// Pure: the clock that measures planning is passed in.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/planner/layer/coactivation_matrix.h"
#include "coordinator/planner/layer/layer_task.h"
#include "replay/load_trace.h"
#include "replay/sequences.h"
#include "replay/telemetry_table.h"

namespace ballast {

// kRing: the copies of an expert sync around a flat ring over the NIC, and a slot write moves weights and
// state. kHome: what Ballast does; every slot sends its gradient to the expert's homes and gets the weights
// back, over NVLink inside a node (LayerHomes), a new slot costs nothing more, and state moves when homes
// follow.
enum class CostModel { kRing, kHome };

// The model of a training step, nothing overlapped.
struct ReplayCosts {
  CostModel model = CostModel::kRing;
  double hidden = 2048, inner = 8192;  // an expert's sizes
  double tflops = 300;                 // of a rank
  double nic_gbs = 45;                 // of a rank, GB/s
  double nvlink_gbs = 300;             // of a rank inside its node, GB/s; kHome alone
  double weight_mb = 67;               // of one expert
  double state_mb = 403;               // its optimizer state, moved with it
  double iterations_per_step = 10;     // training iterations that one row stands for

  double SecondsPerToken() const;  // of the busiest rank: its expert and its port
  double SyncSeconds() const;      // per row, of a slot with very many copies: 2 W / B
  double WriteSeconds() const;     // of one slot write; with kHome of the move of its home
};

// Tokens over an expert's copies: each microbatch exactly, by the strategy's shares (what the exact split
// gives the forecast where it names none), or evenly.
enum class ReplaySplit { kExact, kFractions, kEven };

struct ReplayOptions {
  int ranks = 0;
  int ranks_per_node = 0;  // 0: all on one node
  int slots = 0;           // per rank
  std::string strategy = "auto";
  int every = 1;  // rows between looks
  int from = 0;   // figures count rows from here on
  ReplaySplit split = ReplaySplit::kExact;
  std::optional<ReplayCosts> costs;
  double write_cost = 0.02;  // without costs: of a slot write, in balanced rows of the layer
  int writes_max = 4;        // of one bounded re-plan
  int64_t evaluations_max = 20'000;
  uint64_t seed = 1;
  std::optional<CoactivationMatrix> together;  // of a sample of tokens, for all layers
  // Sequences that ranks get, for kmeans and genetic instead of pairs; null: none were chosen.
  const SequenceChoice* sequences = nullptr;
  // Times that were recorded beside the loads, of as many GPUs; null: all GPUs are equally fast. Plans and
  // splits for a row count on what the rows before it say, and figures count tokens over the speed known by
  // then.
  const TelemetryTable* telemetry = nullptr;
  bool oracle = true;                    // also compute the oracle and the bounds
  std::function<double()> milliseconds;  // a clock; may be empty
};

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

// One layer's placement from a row on.
struct ReplayPlan {
  int step = 0;
  int layer = 0;
  SlotTable table;
  // [rank][index] parts per 2^16 that figures are counted with; empty: the exact split.
  std::vector<std::vector<uint32_t>> fractions;
};

struct ReplayResult {
  ReplayFigures figures;
  std::vector<SlowEvent> slow;    // who was found slow or healthy again, when
  std::vector<ReplayPlan> plans;  // by step, then layer; step 0 has one for each layer
  // [layer][row from options.from on]: busiest rank / mean over the row's microbatches, and slot writes
  // before it.
  std::vector<std::vector<double>> imbalance;
  std::vector<std::vector<double>> slot_writes;
};

// NotFound for an unknown strategy; InvalidArgument for options that are impossible for the trace.
absl::StatusOr<ReplayResult> Replay(const LoadTrace& trace, const ReplayOptions& options);

}  // namespace ballast
