// What a replay is asked for.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "coordinator/planner/layer/coactivation_matrix.h"
#include "coordinator/planner/layer/layer_strategy.h"
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
  double PortShare() const;        // of that, its port
  double SyncSeconds() const;      // per row, of a slot with very many copies: 2 W / B
  double WriteSeconds() const;     // of one slot write; with kHome of the move of its home
};

// Tokens over an expert's copies: each microbatch exactly, by the strategy's shares (what the exact split
// gives the forecast where it names none), or evenly.
enum class ReplaySplit { kExact, kFractions, kEven };

// One layer's placement from a row on.
struct ReplayPlan {
  int step = 0;
  int layer = 0;
  SlotTable table;
  // [rank][index] parts per 2^16 that figures are counted with; empty: the exact split.
  std::vector<std::vector<uint32_t>> fractions;
};

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
  int64_t evaluations_max = kPlacementsMax;
  uint64_t seed = 1;
  // Of a sample of tokens: of each layer, or one for all; empty: none.
  std::vector<CoactivationMatrix> together = {};
  // Sequences that ranks get, for kmeans and genetic instead of pairs; null: none were chosen.
  const SequenceChoice* sequences = nullptr;
  // Times that were recorded beside the loads, of as many GPUs; null: all GPUs are equally fast. Plans and
  // splits for a row count on what the rows before it say, and figures count tokens over the speed known by
  // then: what a token takes on a rank, its computing and its way over the rank's port (reactions.h).
  const TelemetryTable* telemetry = nullptr;
  bool oracle = true;                    // also compute the oracle and the bounds
  std::function<double()> milliseconds;  // a clock; may be empty
  // Gets every plan as it is made, by step, then layer; step 0 has one for each layer. Nothing keeps them:
  // those of a long trace would outgrow its loads. May be empty.
  std::function<void(const ReplayPlan&)> plan_made;
};

// InvalidArgument names the option that is impossible for the trace, the value found and what is allowed.
absl::Status CheckReplayOptions(const LoadTrace& trace, const ReplayOptions& options);

// InvalidArgument names the option, what was found and what is allowed.
absl::Status RefuseOption(const std::string& option, int64_t found, const std::string& allowed);
// How many GPUs there are, and on a node (0: all on one).
absl::Status CheckGpus(int ranks, int ranks_per_node);

}  // namespace ballast
