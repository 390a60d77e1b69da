#include "worker/trainer/trainer.h"

#include <cmath>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "plan/validate.h"
#include "worker/comm/farewell.h"
#include "worker/optimizer/window_size.h"
#include "worker/trainer/evaluation.h"

namespace ballast {

Trainer::Trainer(const TrainerOptions& options, const TrainerParts& parts)
    : options_(options),
      parts_(parts),
      job_(*options_.job),
      self_(parts.communicator.rank()),
      batch_(PlanMicrobatches(job_.training.global_batch_sequences, parts.communicator.size(),
                              job_.training.microbatch_sequences)),
      sampler_(options.sampling, self_, batch_, job_.data.sequence_length),
      stream_(parts.backend.NewStream()),
      times_(parts.clock, parts.communicator, parts.backend.NewMarks()),
      fence_(self_, parts.communicator.size(), options.plan, options.start_step),
      running_(options.plan->stamp.version) {}

absl::StatusOr<std::unique_ptr<Trainer>> Trainer::Make(const TrainerOptions& options,
                                                       const TrainerParts& parts) {
  std::unique_ptr<Trainer> trainer(new Trainer(options, parts));
  OptimizerOptions optimizer;
  optimizer.config = options.job->optimizer;
  optimizer.steps = options.job->training.steps;
  optimizer.slots_per_rank = options.job->placement.slots_per_rank;
  optimizer.microbatches = trainer->batch_.microbatches;
  optimizer.window_bytes = WindowBytes(
      parts.layout, LimitsFor(*options.job, parts.layout, parts.communicator.size()),
      {.element_bytes = parts.backend.element_bytes(), .master_bytes = parts.backend.master_bytes()});
  optimizer.sequences = trainer->batch_.sequences;
  optimizer.poison_vacated = options.poison_vacated;
  Optimizer::Resumption resumption;
  if (options.retained != nullptr) resumption.homes = &options.retained->homes;
  absl::StatusOr<std::unique_ptr<Optimizer>> made =
      Optimizer::Make(optimizer, parts.layout, options.plan, parts.fill_state, parts.backend,
                      *trainer->stream_, parts.communicator, trainer->Deadline(), options.start_step.Plus(-1),
                      options.retained != nullptr ? &resumption : nullptr);
  if (!made.ok()) {
    parts.communicator.Abort(absl::StrCat("rank ", trainer->self_.value(), ": ", made.status().ToString()));
    return made.status();
  }
  trainer->optimizer_ = *std::move(made);
  if (options.retained != nullptr) {
    trainer->resumed_ = std::move(resumption.table);
    for (const StepInHand& step : options.retained->steps) {
      if (step.step == options.start_step.Plus(-1)) trainer->step_ = step;
    }
  }
  if (!trainer->job_.checkpoint.path.empty()) {
    trainer->checkpoints_ = std::make_unique<CheckpointTaker>(
        options.job, trainer->self_, options.checkpoint_writer, parts.layout, parts.backend,
        *trainer->optimizer_, parts.coordination);
  }
  return trainer;
}

TrainResult Trainer::Run() {
  TrainResult result;
  result.last_step = options_.start_step.Plus(-1);
  result.status = RunSteps(result);
  // The ranks' end is told behind their last checkpoint.
  if (result.status.ok() && checkpoints_ != nullptr) checkpoints_->WaitIdle();
  if (result.status.ok() || failed_together_) {
    // All ranks end here, at the same step.
    absl::Status farewell = Farewell(parts_.communicator, *stream_, Deadline());
    if (result.status.ok()) result.status = farewell;
    // Also when it has left in peace: another rank's farewell may have been torn.
    result.resumable = !failed_together_;
  } else {
    result.resumable = true;
    parts_.communicator.Abort(absl::StrCat("rank ", self_.value(), ": ", result.status.ToString()));
  }
  return result;
}

absl::StatusOr<RetainedRank> Trainer::Release() {
  RetainedRank kept;
  BALLAST_ASSIGN_OR_RETURN(kept.homes, optimizer_->Release());
  kept.steps = {std::move(step_before_), std::move(step_)};
  return kept;
}

absl::Status Trainer::RunSteps(TrainResult& result) {
  const Step last(job_.training.steps);
  if (options_.start_step == Step(1)) {
    BALLAST_RETURN_IF_ERROR(EvaluateAfter(Step(0), options_.plan->body));
  } else if (!resumed_.headers.empty()) {
    // The end of the generation may have come before these were made. Who has them ignores them.
    reporter_ = ReporterOf(resumed_.headers);
    if (self_ == reporter_ && step_.step.Next() == options_.start_step) Report(step_, resumed_);
    if (EvaluationIsDue(options_.start_step.Plus(-1), options_.start_step > last)) {
      BALLAST_RETURN_IF_ERROR(EvaluateAfter(options_.start_step.Plus(-1), options_.plan->body));
    }
    if (options_.start_step > last && checkpoints_ != nullptr) BALLAST_RETURN_IF_ERROR(TakeLastCheckpoint());
  }
  for (Step step = options_.start_step; step <= last; step = step.Next()) {
    bool stop = false;
    BALLAST_RETURN_IF_ERROR(RunStep(step, stop));
    result.last_step = step;
    const bool moves = stop && drain_ && step < last;
    if (EvaluationIsDue(step, (stop && !moves) || step == last)) {
      // The slots are those of the next step already.
      BALLAST_RETURN_IF_ERROR(EvaluateAfter(step, fence_.PlanFor(step.Next())->body));
    }
    if (stop) {
      result.stopped = !drain_;
      result.drained = moves;
      break;
    }
  }
  return absl::OkStatus();
}

absl::Status Trainer::TakeLastCheckpoint() {
  const Step completed = options_.start_step.Plus(-1);
  if (!checkpoints_->Choose(completed, resumed_.headers, /*last=*/true, self_ == reporter_))
    return absl::OkStatus();
  checkpoints_->CopyStates(completed, *options_.plan, *options_.plan);
  checkpoints_->CopyModel();
  BALLAST_RETURN_IF_ERROR(parts_.backend.Synchronize(*stream_));
  checkpoints_->Begin();
  return absl::OkStatus();
}

absl::Status Trainer::FailTogether(const std::string& cause) {
  failed_together_ = true;
  return absl::FailedPreconditionError(cause);
}

absl::Status Trainer::RunStep(Step step, bool& stop) {
  const Time begin = parts_.clock.Now();
  times_.Begin(*stream_);
  const PlanPtr plan = fence_.PlanFor(step);
  if (plan->stamp.version != running_) {
    running_ = plan->stamp.version;
    parts_.coordination.OnActive(self_, running_, step);
  }
  BALLAST_RETURN_IF_ERROR(optimizer_->BeginStep(plan, fence_.PlanFor(step.Next())));
  BALLAST_ASSIGN_OR_RETURN(StepTotals totals, ForwardBackward(step, plan->body));
  BALLAST_RETURN_IF_ERROR(optimizer_->Reduce(Deadline()));

  // The reduced gradients are in place: now, and not earlier, the header may leave.
  times_.Enter(Phase::kTable);
  StepRow row;
  BALLAST_ASSIGN_OR_RETURN(row.block_squares, optimizer_->BlockSquares());
  const HeaderCells cells = parts_.coordination.Cells();
  row.header = MakeHeader(step, totals, row.block_squares, cells);
  row.losses = totals.losses;
  step_before_ = std::exchange(step_, {step, running_, begin, std::move(totals)});
  BALLAST_ASSIGN_OR_RETURN(StepTable table, optimizer_->ExchangeTable(row, Deadline()));
  BALLAST_ASSIGN_OR_RETURN(FenceDecision decision, Decide(step, table, cells));
  if (!decision.update) return FailTogether(decision.failure);
  if (!parts_.coordination.OnApplying(self_, step, running_))
    return absl::AbortedError("this daemon has left the generation");

  times_.Enter(Phase::kUpdate);
  optimizer_->Update(step, table);
  const bool last = step == stop_step_ || step == Step(job_.training.steps);
  const bool checkpoint =
      checkpoints_ != nullptr && checkpoints_->Choose(step, table.headers, last, self_ == reporter_);
  times_.Enter(Phase::kCheckpoint);
  if (checkpoint) checkpoints_->CopyStates(step, *plan, *fence_.PlanFor(step.Next()));
  times_.Enter(Phase::kRefresh);
  BALLAST_RETURN_IF_ERROR(optimizer_->Refresh(step, Deadline()));
  times_.Enter(Phase::kCheckpoint);
  if (checkpoint) checkpoints_->CopyModel();
  times_.Enter(Phase::kOther);
  BALLAST_RETURN_IF_ERROR(parts_.backend.Synchronize(*stream_));
  if (checkpoint) checkpoints_->Begin();
  ReportTimes(step, step_.totals);
  parts_.coordination.OnStepDone(self_, step);
  if (self_ == reporter_) Report(step_, table);
  ReportTokens(step);
  stop = step == stop_step_;
  return absl::OkStatus();
}

absl::StatusOr<StepTotals> Trainer::ForwardBackward(Step step, const PlanBody& plan) {
  StepTotals totals;
  for (int64_t m = 0; m < batch_.microbatches; ++m) {
    const SequenceRun& run = batch_.runs[self_.index()][static_cast<size_t>(m)];
    times_.Enter(Phase::kData);
    BALLAST_ASSIGN_OR_RETURN(Microbatch microbatch, parts_.batches.Training(step, run.first, run.count));
    microbatch.first_gradients = optimizer_->BeginMicrobatch(m);
    ModelStep model_step = ModelStepOf(plan, job_.training.global_batch_sequences);
    model_step.phases = &times_;
    model_step.tap = sampler_.TapOf(step, run);
    BALLAST_ASSIGN_OR_RETURN(MicrobatchResult result, parts_.model.ForwardBackward(model_step, microbatch));
    totals.Add(result);
    times_.On(*stream_);
    times_.Enter(Phase::kReduce);
    optimizer_->EndMicrobatch(m);
  }
  return totals;
}

absl::Status Trainer::EvaluateAfter(Step step, const PlanBody& plan) {
  BALLAST_ASSIGN_OR_RETURN(
      const std::string failure,
      Evaluate({.parts = parts_,
                .job = job_,
                .generation = options_.plan->stamp.generation,
                .step = step,
                .reporter = reporter_,
                .stream = *stream_,
                .model_step = [&] { return ModelStepOf(plan, job_.training.evaluation_sequences); }}));
  return failure.empty() ? absl::OkStatus() : FailTogether(failure);
}

ModelStep Trainer::ModelStepOf(const PlanBody& plan, int64_t sequences) const {
  return {.plan = plan,
          .topology = options_.topology,
          .communicator = parts_.communicator,
          .parameters = optimizer_->parameters(),
          .deadline = Deadline(),
          .global_tokens = sequences * job_.data.sequence_length,
          .global_sequences = sequences,
          .behind = stream_.get()};
}

StepFailure Trainer::GradientFailure(BlockId block) const {
  const Parameter& parameter = parts_.layout.parameter_of(block);
  StepFailure failure{.cause = FailureCause::kGradient};
  if (parameter.layer.has_value()) {
    failure.part = ModelPart::kLayer;
    failure.layer = parameter.layer->value();
  } else {
    // The final norm belongs to the head.
    failure.part = parameter.name == "model.embed_tokens.weight" ? ModelPart::kEmbedding : ModelPart::kHead;
  }
  return failure;
}

StepHeader Trainer::MakeHeader(Step step, const StepTotals& totals, const std::vector<double>& squares,
                               const HeaderCells& cells) const {
  StepHeader header;
  header.generation = options_.plan->stamp.generation;
  header.step = step;
  if (cells.staged != nullptr) {
    header.staged = cells.staged->stamp.version;
    header.staged_digest = cells.staged_digest;
  }
  header.committed = cells.committed;
  header.split_hash = totals.split_hash;
  header.request = cells.request;
  header.request_kind = cells.request_kind;
  header.attached = cells.attached;
  header.checkpoint_busy = checkpoints_ != nullptr && checkpoints_->busy();

  header.failure = totals.failure;
  if (header.ok()) {
    if (std::optional<BlockId> block = optimizer_->NonFinite(squares))
      header.failure = GradientFailure(*block);
  }
  return header;
}

absl::StatusOr<FenceDecision> Trainer::Decide(Step step, const StepTable& table, const HeaderCells& cells) {
  // A plan is decided only if this rank's own row promised it, so it is the one of the cells that the row was
  // made from.
  auto held = [&](PlanVersion version, PlanDigest digest) -> PlanPtr {
    const bool same =
        cells.staged != nullptr && cells.staged->stamp.version == version && cells.staged_digest == digest;
    return same ? cells.staged : nullptr;
  };
  BALLAST_ASSIGN_OR_RETURN(FenceDecision decision, fence_.Apply(step, table.headers, held));
  reporter_ = ReporterOf(table.headers);
  if (!decision.alarm.empty() && self_ == Rank(0)) {
    Log(LogLevel::kWarning, "plans differ",
        {{"job", job_.name.value()},
         {"rank", self_.value()},
         {"step", step.value()},
         {"what", decision.alarm}});
  }
  if (decision.decided.has_value()) {
    parts_.coordination.OnDecided(self_, *decision.decided, decision.switch_step);
  }
  if (decision.request_kind == RequestKind::kCheckpoint && checkpoints_ != nullptr)
    checkpoints_->Request(decision.request, decision.request_step);
  if (decision.request_kind == RequestKind::kStop || decision.request_kind == RequestKind::kDrain) {
    stop_step_ = decision.request_step;
    drain_ = decision.request_kind == RequestKind::kDrain;
  }
  return decision;
}

void Trainer::ReportTimes(Step step, const StepTotals& totals) {
  std::vector<int64_t> assignments;  // by layer
  for (const std::vector<int64_t>& layer : totals.rank_tokens) assignments.push_back(layer[self_.index()]);
  const int64_t sum = std::accumulate(assignments.begin(), assignments.end(), int64_t{0});
  parts_.coordination.OnRankStep(self_, times_.End(step, sum), assignments);
}

void Trainer::Report(const StepInHand& step, const StepTable& table) {
  const double sequences = job_.training.global_batch_sequences;
  const SequenceLoss sum = SumLosses(table.losses);
  StepReport report;
  report.job = job_.name;
  report.generation = options_.plan->stamp.generation;
  report.step = step.step;
  report.plan = step.plan;
  report.tokens = int64_t{job_.training.global_batch_sequences} * job_.data.sequence_length;
  report.loss = sum.cross_entropy / static_cast<double>(report.tokens);
  report.load_balance_loss = sum.load_balance / sequences;
  report.z_loss = sum.z_loss / sequences;
  report.gradient_norm = GlobalNorm(table);
  report.step_seconds = ToSeconds(parts_.clock.Now() - step.begin);
  report.load.step = step.step;
  report.load.tokens = step.totals.expert_tokens;
  report.rank_tokens = step.totals.rank_tokens;
  parts_.coordination.OnReport(std::move(report));
}

void Trainer::ReportTokens(Step step) {
  std::optional<TokenReport> report = sampler_.Take(step);
  if (!report.has_value()) return;
  report->job = job_.name;
  report->generation = options_.plan->stamp.generation;
  parts_.coordination.OnTokens(*std::move(report));
}

bool Trainer::EvaluationIsDue(Step step, bool last) const {
  const int64_t every = job_.training.evaluate_every;
  return last || (every > 0 && step.value() % every == 0);
}

}  // namespace ballast
