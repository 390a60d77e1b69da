// MoeContext: what one microbatch brings to every stage of a MoE layer.
#pragma once

#include <cstdint>
#include <vector>

#include "base/clock.h"
#include "plan/plan.h"
#include "plan/topology.h"
#include "worker/backend/backend.h"
#include "worker/comm/communicator.h"
#include "worker/moe/expert_tensors.h"
#include "worker/phase_timer.h"
#include "worker/schedule/all_to_all.h"

namespace ballast {

// Where the choices of some rows are copied to.
struct ChosenExperts {
  int32_t* to =
      nullptr;  // [row][k], in host memory, which stays until the stream is synchronized; null: none are
  int64_t first_row = 0;
  int64_t rows = 0;
};

struct MoeContext {
  Backend& backend;
  Stream& stream;
  Communicator& communicator;
  const Topology& topology;
  Time deadline;  // of each exchange
  AllToAllScratch& all_to_all_scratch;
  const LayerPlan& plan;                // of this layer
  const std::vector<uint32_t>& speeds;  // of the plan
  Matrix router;                        // [experts, hidden]
  Matrix router_gradient;
  const std::vector<ExpertTensors>& slots;  // of this rank, by slot index
  // What the slots' gradients held is lost in Backward, which writes those of all slots.
  bool first_gradients = false;
  int64_t sequences = 0;         // rows are [sequence][position]
  int64_t global_sequences = 0;  // of the step: auxiliary losses are averaged over it
  PhaseTimer* phases = nullptr;  // null: nobody asks where the time goes
  ChosenExperts chosen = {};     // of a forward
};

}  // namespace ballast
