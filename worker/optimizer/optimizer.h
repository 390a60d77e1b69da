// Optimizer: homes and slots of one rank over the steps, and the three collectives that join them.
//
// A step s, in this order (docs/design.md has the reasons):
//   BeginStep(plan(s), plan(s+1))
//   for each microbatch: BeginMicrobatch(), forward and backward on parameters(), EndMicrobatch()
//   Reduce()                        1 exchange: every home has the sum of its blocks' gradients
//   ExchangeTable(row)              1 all-gather: the row is sent when the reduced gradients are in place
//   Update(step, table)             only if the fence says so
//   Refresh(step)                   1 exchange: the slots of plan(s+1) are full, homes have moved
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "plan/job_config.h"
#include "plan/layout.h"
#include "plan/plan.h"
#include "worker/backend/backend.h"
#include "worker/comm/communicator.h"
#include "worker/model/parameters.h"
#include "worker/optimizer/home_store.h"
#include "worker/optimizer/retained.h"
#include "worker/optimizer/slot_store.h"
#include "worker/optimizer/step_table.h"
#include "worker/optimizer/transfers.h"
#include "worker/optimizer/window.h"

namespace ballast {

struct ExchangeContext;

struct OptimizerOptions {
  OptimizerConfig config;
  int64_t steps = 0;  // of the whole job, for the learning rate
  int slots_per_rank = 0;
  int64_t microbatches = 1;        // of every rank in a step
  size_t window_bytes = 0;         // of each transfer window (WindowBytes)
  std::vector<int64_t> sequences;  // [rank] of the global batch
  bool poison_vacated = false;     // tests: NaN in slots that a plan vacates, and in experts' gradients
};

// Used by the rank's thread alone. After an error it is of no use any more, but for Release.
class Optimizer {
 public:
  // Fills a block's state: master weights and both moments, each a run of the block's elements of the
  // backend's master type; `state` is host memory, zeroed.
  using FillState = std::function<absl::Status(BlockId block, void* state)>;

  // How a generation goes on with what the ranks held at the end of the one before.
  struct Resumption {
    const RetainedHomes* homes = nullptr;  // this rank's; only read
    StepTable table;                       // filled in: of the last step that counts
  };

  // Allocates for `plan`, fills the states of its homes with those after `completed` and, by a first refresh,
  // all slots: 1 exchange. With `resumption`, whose plan of `completed` has the same content, the states come
  // from there and not from `fill`: 1 all-gather more brings the table of `completed`, and a rank that has
  // not applied that step does now. FailedPrecondition when what is held is not enough.
  static absl::StatusOr<std::unique_ptr<Optimizer>> Make(const OptimizerOptions& options,
                                                         const ParameterLayout& layout, PlanPtr plan,
                                                         const FillState& fill, Backend& backend,
                                                         Stream& stream, Communicator& communicator,
                                                         Time deadline, Step completed = Step(0),
                                                         Resumption* resumption = nullptr);

  const ModelParameters& parameters() const { return *slots_; }

  // FailedPrecondition when the transfers do not fit into the windows; such a plan is refused at Stage.
  absl::Status BeginStep(PlanPtr plan, PlanPtr next);
  // As SlotStore's. What fills the gradients from other streams must be behind the first in order, and have run
  // before the second.
  bool BeginMicrobatch(int64_t index) {
    return slots_->BeginMicrobatch(stream_, index, options_.poison_vacated);
  }
  void EndMicrobatch(int64_t index) { slots_->EndMicrobatch(stream_, index); }
  absl::Status Reduce(Time deadline);
  // What this rank adds to the table: the sums of squares of its reduced gradients, by owned block.
  absl::StatusOr<std::vector<double>> BlockSquares();
  // First owned block whose sum of squares is not finite, if any.
  std::optional<BlockId> NonFinite(const std::vector<double>& squares) const;
  absl::StatusOr<StepTable> ExchangeTable(const StepRow& row, Time deadline);
  void Update(Step step, const StepTable& table);
  absl::Status Refresh(Step step, Time deadline);

  // For checkpoints; host memory, in place when the stream is synchronized. State of a block that is owned
  // here, as FillState has it; after Update and before Refresh it is that of the step.
  void CopyState(BlockId block, void* to);
  size_t StateBytes(BlockId block) const { return homes_.StateBytes(block); }
  // Compute weights of a whole parameter that is held here; after Refresh those of the next step.
  void CopyWeights(int parameter, void* to);

  // Everything that another generation of the same ranks needs to go on; at any time after Make, also after
  // an error of the communicator. Of no other use afterwards.
  absl::StatusOr<RetainedHomes> Release();

 private:
  Optimizer(const OptimizerOptions& options, const ParameterLayout& layout, Backend& backend, Stream& stream,
            Communicator& communicator);
  absl::Status Prepare(PlanPtr plan, PlanPtr next);
  absl::Status FillHomes(const FillState& fill);
  absl::Status Resume(Step completed, Resumption& resumption, Time deadline);
  // Everybody's row, `row` being this rank's.
  absl::StatusOr<StepTable> GatherRows(const std::vector<char>& row, Time deadline);
  ExchangeContext Context();

  const OptimizerOptions options_;
  const ParameterLayout& layout_;
  Backend& backend_;
  Stream& stream_;
  Communicator& communicator_;

  std::unique_ptr<SlotStore> slots_;
  HomeStore homes_;
  Window send_, recv_;

  // Of the step in hand; the rest is derived from the two plans.
  PlanPtr plan_, next_;
  ReduceTransfers reduce_;
  RefreshTransfers refresh_;
  StepTableShape table_shape_;
  std::vector<char> table_bytes_;

  // For Release.
  struct SentRow {
    Step step;
    std::vector<char> bytes;
  };
  Step applied_;
  SentRow row_, row_before_;
};

}  // namespace ballast
