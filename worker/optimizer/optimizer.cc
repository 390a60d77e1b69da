#include "worker/optimizer/optimizer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "worker/optimizer/learning_rate.h"
#include "worker/optimizer/step_exchange.h"

namespace ballast {

// A moved state arrives for the switch step, which is the next one; its old home keeps it until the table of
// the step after.
constexpr int64_t kRetireSteps = 2;

Optimizer::Optimizer(const OptimizerOptions& options, const ParameterLayout& layout, Backend& backend,
                     Stream& stream, Communicator& communicator)
    : options_(options),
      layout_(layout),
      backend_(backend),
      stream_(stream),
      communicator_(communicator),
      homes_(layout, backend) {
  BALLAST_CHECK(static_cast<int>(options_.sequences.size()) == communicator.size()) << "one part per rank";
}

absl::StatusOr<std::unique_ptr<Optimizer>> Optimizer::Make(const OptimizerOptions& options,
                                                           const ParameterLayout& layout, PlanPtr plan,
                                                           const FillState& fill, Backend& backend,
                                                           Stream& stream, Communicator& communicator,
                                                           Time deadline) {
  std::unique_ptr<Optimizer> optimizer(new Optimizer(options, layout, backend, stream, communicator));
  BALLAST_ASSIGN_OR_RETURN(optimizer->slots_,
                           SlotStore::Make(layout, communicator.rank(), options.slots_per_rank, backend));
  BALLAST_RETURN_IF_ERROR(optimizer->send_.Allocate(backend, options.window_bytes));
  BALLAST_RETURN_IF_ERROR(optimizer->recv_.Allocate(backend, options.window_bytes));
  optimizer->slots_->Switch(stream, plan->body, options.poison_vacated);
  std::vector<char> state;
  for (int b = 0; b < static_cast<int>(plan->body.homes.size()); ++b) {
    const BlockId block(b);
    if (plan->body.homes[b] != communicator.rank()) continue;
    BALLAST_RETURN_IF_ERROR(optimizer->homes_.Add(block));
    // Filled on the host: the backend's memory may lie elsewhere.
    state.assign(optimizer->homes_.StateBytes(block), 0);
    BALLAST_RETURN_IF_ERROR(fill(block, state.data()));
    backend.Copy(stream, optimizer->homes_.at(block).state.data(), state.data(), state.size());
    BALLAST_RETURN_IF_ERROR(backend.Synchronize(stream));
    optimizer->homes_.CastMaster(stream, block);
  }
  BALLAST_RETURN_IF_ERROR(optimizer->Prepare(plan, plan));
  BALLAST_RETURN_IF_ERROR(RefreshSlots(optimizer->Context(), optimizer->refresh_, deadline));
  return optimizer;
}

absl::Status Optimizer::BeginStep(PlanPtr plan, PlanPtr next) {
  BALLAST_RETURN_IF_ERROR(Prepare(std::move(plan), std::move(next)));
  slots_->ZeroGradients(stream_);
  return absl::OkStatus();
}

// Derives what follows from the two plans, unless they are those of the step before.
absl::Status Optimizer::Prepare(PlanPtr plan, PlanPtr next) {
  const bool same_plan = plan == plan_;
  if (same_plan && next == next_) return absl::OkStatus();
  const Rank self = communicator_.rank();
  if (!same_plan) {
    reduce_ = MakeReduceTransfers(layout_, plan->body, self);
    table_shape_.sequences = options_.sequences;
    table_shape_.owned.assign(communicator_.size(), {});
    table_shape_.blocks = static_cast<int64_t>(layout_.blocks().size());
    for (int b = 0; b < static_cast<int>(plan->body.homes.size()); ++b) {
      table_shape_.owned[plan->body.homes[b].index()].push_back(BlockId(b));
    }
  }
  refresh_ = MakeRefreshTransfers(layout_, plan->body, next->body, self);
  const size_t element_bytes = backend_.element_bytes();
  const size_t send_bytes = std::max(reduce_.send_elements * element_bytes, SendBytes(backend_, refresh_));
  const size_t recv_bytes = std::max(reduce_.recv_elements * element_bytes, RecvBytes(backend_, refresh_));
  if (std::max(send_bytes, recv_bytes) > options_.window_bytes) {
    return absl::FailedPreconditionError(absl::StrCat("the transfers of rank ", self.value(), " need ",
                                                      send_bytes, " and ", recv_bytes,
                                                      " bytes, the windows have ", options_.window_bytes));
  }
  plan_ = std::move(plan);
  next_ = std::move(next);
  return absl::OkStatus();
}

absl::Status Optimizer::Reduce(Time deadline) { return ReduceGradients(Context(), reduce_, deadline); }

absl::StatusOr<std::vector<double>> Optimizer::BlockSquares() {
  std::vector<double> squares(reduce_.owned.size());
  for (size_t i = 0; i < squares.size(); ++i) {
    const HomeBlock& home = homes_.at(reduce_.owned[i]);
    backend_.SumOfSquares(stream_, home.gradient.data(), home.elements, &squares[i]);
  }
  BALLAST_RETURN_IF_ERROR(backend_.Synchronize(stream_));
  return squares;
}

std::optional<BlockId> Optimizer::NonFinite(const std::vector<double>& squares) const {
  for (size_t i = 0; i < squares.size(); ++i) {
    if (!std::isfinite(squares[i])) return reduce_.owned[i];
  }
  return std::nullopt;
}

absl::StatusOr<StepTable> Optimizer::ExchangeTable(const StepRow& row, Time deadline) {
  std::vector<size_t> bytes;
  size_t total = 0;
  for (int r = 0; r < communicator_.size(); ++r) {
    bytes.push_back(RowBytes(table_shape_, Rank(r)));
    total += bytes.back();
  }
  BALLAST_CHECK(row.losses.size() ==
                    static_cast<size_t>(table_shape_.sequences[communicator_.rank().index()]) &&
                row.block_squares.size() == reduce_.owned.size())
      << "a row of the wrong shape";
  row_bytes_.resize(bytes[communicator_.rank().index()]);
  table_bytes_.resize(total);
  EncodeRow(row, row_bytes_.data());
  std::unique_ptr<Pending> pending =
      communicator_.AllGather(stream_, row_bytes_.data(), bytes, table_bytes_.data());
  BALLAST_RETURN_IF_ERROR(communicator_.Wait(*pending, deadline));
  return DecodeTable(table_shape_, table_bytes_.data());
}

void Optimizer::Update(Step step, const StepTable& table) {
  AdamWStep adam{.learning_rate = LearningRate(options_.config, options_.steps, step),
                 .beta1 = options_.config.beta1,
                 .beta2 = options_.config.beta2,
                 .epsilon = options_.config.epsilon,
                 .weight_decay = 0,
                 .gradient_scale = ClipFactor(GlobalNorm(table), options_.config.clip_norm),
                 .step = step.value()};
  for (BlockId block : reduce_.owned) {
    HomeBlock& home = homes_.at(block);
    adam.weight_decay = layout_.parameter_of(block).decayed ? options_.config.weight_decay : 0;
    backend_.AdamW(stream_, adam, home.elements, home.gradient.data(), homes_.Master(block),
                   homes_.Moment1(block), homes_.Moment2(block), home.updated.data());
  }
}

absl::Status Optimizer::Refresh(Step step, Time deadline) {
  // This step's table has been seen, so every rank has the states that arrived for the step before.
  homes_.Forget(step);
  slots_->Switch(stream_, next_->body, options_.poison_vacated);
  for (BlockId block : refresh_.arriving) BALLAST_RETURN_IF_ERROR(homes_.Add(block));
  BALLAST_RETURN_IF_ERROR(RefreshSlots(Context(), refresh_, deadline));
  for (BlockId block : refresh_.leaving) homes_.Retire(block, step.Plus(kRetireSteps));
  return absl::OkStatus();
}

void Optimizer::CopyState(BlockId block, void* to) {
  backend_.Copy(stream_, to, homes_.at(block).state.data(), homes_.StateBytes(block));
}

void Optimizer::CopyWeights(int parameter, void* to) {
  const Parameter& p = layout_.parameters()[static_cast<size_t>(parameter)];
  // A parameter's blocks follow each other.
  backend_.Copy(stream_, to, slots_->BlockWeight(BlockId(p.first_block)),
                static_cast<size_t>(p.elements) * backend_.element_bytes());
}

ExchangeContext Optimizer::Context() {
  return {layout_, backend_, stream_, communicator_, *slots_, homes_, send_, recv_};
}

}  // namespace ballast
