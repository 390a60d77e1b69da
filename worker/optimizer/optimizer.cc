#include "worker/optimizer/optimizer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
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
                                                           Time deadline, Step completed,
                                                           Resumption* resumption) {
  std::unique_ptr<Optimizer> optimizer(new Optimizer(options, layout, backend, stream, communicator));
  BALLAST_ASSIGN_OR_RETURN(
      optimizer->slots_,
      SlotStore::Make(layout, communicator.rank(), options.slots_per_rank, options.microbatches, backend));
  BALLAST_RETURN_IF_ERROR(optimizer->send_.Allocate(backend, options.window_bytes));
  BALLAST_RETURN_IF_ERROR(optimizer->recv_.Allocate(backend, options.window_bytes));
  optimizer->slots_->Switch(stream, plan->body, options.poison_vacated);
  BALLAST_RETURN_IF_ERROR(optimizer->Prepare(plan, plan));
  optimizer->applied_ = completed;
  if (resumption != nullptr) {
    BALLAST_RETURN_IF_ERROR(optimizer->Resume(completed, *resumption, deadline));
  } else {
    BALLAST_RETURN_IF_ERROR(optimizer->FillHomes(fill));
  }
  BALLAST_RETURN_IF_ERROR(RefreshSlots(optimizer->Context(), optimizer->refresh_, deadline));
  return optimizer;
}

absl::Status Optimizer::FillHomes(const FillState& fill) {
  std::vector<char> state;
  for (BlockId block : reduce_.owned) {
    BALLAST_RETURN_IF_ERROR(homes_.Add(block));
    // Filled on the host: the backend's memory may lie elsewhere.
    state.assign(homes_.StateBytes(block), 0);
    BALLAST_RETURN_IF_ERROR(fill(block, state.data()));
    backend_.Copy(stream_, homes_.at(block).state.data(), state.data(), state.size());
    BALLAST_RETURN_IF_ERROR(backend_.Synchronize(stream_));
    homes_.CastMaster(stream_, block);
  }
  return absl::OkStatus();
}

absl::Status Optimizer::Resume(Step completed, Resumption& resumption, Time deadline) {
  const RetainedHomes& held = *resumption.homes;
  const auto lacks = [&](const std::string& what) {
    return absl::FailedPreconditionError(absl::StrCat("rank ", communicator_.rank().value(), " holds no ",
                                                      what, ", needed to go on behind step ",
                                                      completed.value()));
  };
  const auto row = held.rows.find(completed);
  if (row == held.rows.end() || row->second.size() != RowBytes(table_shape_, communicator_.rank()))
    return lacks("row of that step");
  const bool behind = held.applied.Next() == completed;
  if (!behind && held.applied != completed)
    return lacks(absl::StrCat("state of that step: step ", held.applied.value(), " was its last"));
  BALLAST_RETURN_IF_ERROR(FillHomes([&](BlockId block, void* state) -> absl::Status {
    const auto kept = held.states.find(block);
    if (kept == held.states.end() || kept->second.size() != homes_.StateBytes(block))
      return lacks(absl::StrCat("state of block ", block.value()));
    std::memcpy(state, kept->second.data(), kept->second.size());
    return absl::OkStatus();
  }));
  row_ = {completed, row->second};
  BALLAST_ASSIGN_OR_RETURN(resumption.table, GatherRows(row_.bytes, deadline));
  for (const StepHeader& header : resumption.table.headers) {
    if (header.step == completed && header.generation == resumption.table.headers[0].generation) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("the ranks go on behind step ", completed.value(), ", and one brings the row of step ",
                     header.step.value(), " of generation ", header.generation.value()));
  }
  if (!behind) return absl::OkStatus();
  for (BlockId block : reduce_.owned) {
    const auto gradient = held.gradients.find(block);
    if (gradient == held.gradients.end() || gradient->second.size() != homes_.at(block).gradient.bytes())
      return lacks(absl::StrCat("gradient of block ", block.value()));
    backend_.Copy(stream_, homes_.at(block).gradient.data(), gradient->second.data(),
                  gradient->second.size());
  }
  Update(completed, resumption.table);
  return backend_.Synchronize(stream_);
}

absl::StatusOr<RetainedHomes> Optimizer::Release() {
  RetainedHomes kept;
  kept.applied = applied_;
  for (SentRow* row : {&row_before_, &row_}) {
    if (row->step.value() > 0) kept.rows[row->step] = std::move(row->bytes);
  }
  const auto copy = [&](const void* from, size_t bytes, std::vector<char>& to) {
    to.resize(bytes);
    backend_.Copy(stream_, to.data(), from, bytes);
    return backend_.Synchronize(stream_);
  };
  // What has moved away first: of a block that came back since then, the newer state counts.
  for (const HomeStore::Retired& retired : homes_.retired()) {
    BALLAST_RETURN_IF_ERROR(
        copy(retired.state.data(), homes_.StateBytes(retired.block), kept.states[retired.block]));
  }
  for (BlockId block : homes_.owned()) {
    BALLAST_RETURN_IF_ERROR(
        copy(homes_.at(block).state.data(), homes_.StateBytes(block), kept.states[block]));
  }
  if (kept.rows.count(applied_.Next()) > 0) {
    for (BlockId block : reduce_.owned) {
      const Buffer& gradient = homes_.at(block).gradient;
      BALLAST_RETURN_IF_ERROR(copy(gradient.data(), gradient.bytes(), kept.gradients[block]));
    }
  }
  return kept;
}

absl::Status Optimizer::BeginStep(PlanPtr plan, PlanPtr next) {
  return Prepare(std::move(plan), std::move(next));
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
    backend_.SumOfMasterSquares(stream_, home.gradient.data(), home.elements, &squares[i]);
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
  BALLAST_CHECK(row.losses.size() ==
                    static_cast<size_t>(table_shape_.sequences[communicator_.rank().index()]) &&
                row.block_squares.size() == reduce_.owned.size())
      << "a row of the wrong shape";
  std::swap(row_, row_before_);
  row_.step = row.header.step;
  row_.bytes.resize(RowBytes(table_shape_, communicator_.rank()));
  EncodeRow(row, row_.bytes.data());
  return GatherRows(row_.bytes, deadline);
}

absl::StatusOr<StepTable> Optimizer::GatherRows(const std::vector<char>& row, Time deadline) {
  std::vector<size_t> bytes;
  size_t total = 0;
  for (int r = 0; r < communicator_.size(); ++r) {
    bytes.push_back(RowBytes(table_shape_, Rank(r)));
    total += bytes.back();
  }
  table_bytes_.resize(total);
  std::unique_ptr<Pending> pending = communicator_.AllGather(stream_, row.data(), bytes, table_bytes_.data());
  BALLAST_RETURN_IF_ERROR(communicator_.Wait(*pending, deadline));
  return DecodeTable(table_shape_, table_bytes_.data());
}

void Optimizer::Update(Step step, const StepTable& table) {
  applied_ = step;
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
