// LayerStrategy: where one layer's experts should be, from what is known before the next period.
//
// The live planner and replay call the same strategies. A strategy also decides whether to act: it returns
// nothing when it would rather keep what is there.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/registry.h"
#include "coordinator/planner/explanation.h"
#include "coordinator/planner/layer/coactivation_matrix.h"
#include "coordinator/planner/layer/layer_task.h"
#include "coordinator/planner/layer/objective.h"
#include "plan/balance.h"

namespace ballast {

// Of placements of one layer, where nobody says what a look may take.
inline constexpr int64_t kPlacementsMax = 20'000;

// What is known. Holds references: they must outlive the call.
struct LayerView {
  const LayerTask& task;     // its load is the forecast; valid
  const SlotTable& current;  // valid for the task, or (after a drain) for the task before
  const std::vector<std::vector<int64_t>>& recent;  // measured loads, newest first; may be empty
  LayerCosts costs;                                 // in units of the task's load
  bool pack_anew = false;  // there is no plan worth keeping yet: a start, or after a change of membership
  int writes_max = 4;      // of one bounded re-plan
  // Of placements, in one call (auto: for each number of slots, and as many for ports, up to 600).
  int64_t evaluations_max = kPlacementsMax;
  // Those that were made are added to it, by strategies that count them (smartmoe, eplb, splitpack,
  // flow_repair and lpt_swap do not); null: nobody asks.
  int64_t* evaluations_used = nullptr;
  uint64_t seed = 0;
  PortCosts ports = {};  // for strategies that weigh traffic between nodes by themselves
  const CoactivationMatrix* together = nullptr;  // null: nothing is known
  // [rank][expert] tokens of the sequences that were chosen for each rank (sequence_choice.h); null: any rank
  // may get any sequence.
  const CountMatrix* sources = nullptr;
  // A candidate is weighed on so many of the newest `recent` loads as well as on the forecast.
  size_t weighed_on_recent = 0;
  // Gets what was weighed, for people; null: nobody asks.
  std::vector<LayerCandidate>* weighed = nullptr;
};

struct LayerChoice {
  SlotTable table;
  // [rank][index] parts per 2^16 of the expert's tokens; empty: the exact split.
  std::vector<std::vector<uint32_t>> fractions;
};

// What a strategy takes, for those who call it.
struct StrategyTraits {
  // LayerView::together (or sources, where it chooses sequences) and several nodes; without, it keeps what is
  // there.
  bool needs_tokens = false;
  // It plans better for sequences that were chosen for each rank: LayerView::sources.
  bool chooses_sequences = false;
  // A plan takes so long that nothing may wait for it.
  bool slow = false;
  // The same where there are many layers, experts and ranks.
  bool slow_when_large = false;
};

class LayerStrategy {
 public:
  virtual ~LayerStrategy() = default;
  virtual StrategyTraits traits() const { return {}; }
  // A valid placement whose experts keep their indices where they stay, or nothing to keep `current`.
  virtual std::optional<LayerChoice> Choose(const LayerView& view) const = 0;
};
using LayerStrategyPtr = std::shared_ptr<const LayerStrategy>;

// All of them by name.
const Registry<LayerStrategyPtr>& LayerStrategies();

LayerStrategyPtr MakeContiguousStrategy();
LayerStrategyPtr MakeSmartMoeStrategy();
LayerStrategyPtr MakeEplbStrategy(bool hierarchical);
LayerStrategyPtr MakeLptSwapStrategy();
LayerStrategyPtr MakeFasterMoeShadowStrategy();
LayerStrategyPtr MakeSplitPackStrategy();
LayerStrategyPtr MakeHierSplitPackStrategy();
LayerStrategyPtr MakeFlowRepairStrategy();
LayerStrategyPtr MakeCoactivationStrategy();
LayerStrategyPtr MakeKmeansStrategy();
LayerStrategyPtr MakeGeneticStrategy();
LayerStrategyPtr MakeAutoStrategy();

}  // namespace ballast
