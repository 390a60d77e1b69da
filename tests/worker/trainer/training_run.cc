#include "tests/worker/trainer/training_run.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "base/mutex.h"
#include "base/rng.h"
#include "plan/contiguous.h"
#include "tests/worker/comm/communicator_fixture.h"
#include "worker/backend/cpu/cpu_backend.h"

namespace ballast {
namespace {

// Tokens that follow each other by a fixed rule three times out of four.
class GeneratedBatches final : public BatchSource {
 public:
  GeneratedBatches(const JobConfig& job, Rank rank, const std::function<absl::Status(Rank, Step)>& error)
      : job_(job), rank_(rank), error_(error), names_{"even", "odd"} {}

  absl::StatusOr<Microbatch> Training(Step step, int64_t first, int64_t count) const override {
    if (error_ != nullptr) {
      absl::Status status = error_(rank_, step);
      if (!status.ok()) return status;
    }
    return Make(count, [&](int64_t i) {
      return HashSeed({1, static_cast<uint64_t>(step.value()), static_cast<uint64_t>(first + i)});
    });
  }
  absl::StatusOr<Microbatch> HeldOut(int source, int64_t first, int64_t count) const override {
    return Make(count, [&](int64_t i) {
      return HashSeed({2, static_cast<uint64_t>(source), static_cast<uint64_t>(first + i)});
    });
  }
  const std::vector<std::string>& sources() const override { return names_; }

 private:
  template <class SeedOf>
  Microbatch Make(int64_t count, const SeedOf& seed_of) const {
    Microbatch batch;
    batch.sequences = count;
    batch.length = job_.data.sequence_length;
    const int vocabulary = job_.model.vocabulary_size;
    for (int64_t i = 0; i < count; ++i) {
      Rng rng(seed_of(i));
      auto token = static_cast<int32_t>(rng.Below(vocabulary));
      for (int64_t t = 0; t < batch.length; ++t) {
        batch.inputs.push_back(token);
        token = rng.Chance(0.75) ? (3 * token + 1) % vocabulary : static_cast<int32_t>(rng.Below(vocabulary));
        batch.targets.push_back(token);
      }
    }
    return batch;
  }

  const JobConfig& job_;
  const Rank rank_;
  const std::function<absl::Status(Rank, Step)>& error_;
  const std::vector<std::string> names_;
};

// All ranks of the run behave like the ranks of one daemon: they share the cells, and see them change between
// any two steps.
class Script {
 public:
  Script(const RunSpec& spec, ThreadCommunicatorGroup& group) : spec_(spec), group_(group) {}

  HeaderCells Cells() {
    MutexLock lock(mutex_);
    HeaderCells cells;
    if (next_ < spec_.plans.size()) {
      cells.staged = spec_.plans[next_];
      cells.staged_digest = Digest(*cells.staged);
      cells.committed = cells.staged->stamp.version;
    }
    if (checkpoint_) {
      cells.request = RequestId(1);
      cells.request_kind = RequestKind::kCheckpoint;
    }
    if (stop_) {
      cells.request = RequestId(2);
      cells.request_kind = RequestKind::kStop;
    }
    return cells;
  }
  void OnDecided(PlanVersion version) {
    MutexLock lock(mutex_);
    BALLAST_CHECK(next_ < spec_.plans.size() && spec_.plans[next_]->stamp.version == version);
  }
  void OnActive(Rank rank, PlanVersion version, Step step) {
    MutexLock lock(mutex_);
    outcome_.active[version][rank] = step;
    if (static_cast<int>(outcome_.active[version].size()) == spec_.ranks) ++next_;
  }
  void OnApplying(Rank rank, Step step, PlanVersion plan) {
    MutexLock lock(mutex_);
    outcome_.applied[rank] = {rank, step, plan, /*holds=*/true};
  }
  void OnStepDone(Rank rank, Step step) {
    if (spec_.on_step_done != nullptr) spec_.on_step_done(group_, rank, step);
  }
  void OnRankStep(Rank rank, const RankStep& step, const std::vector<int64_t>& layer_assignments) {
    MutexLock lock(mutex_);
    outcome_.rank_steps[rank].push_back(step);
    outcome_.layer_assignments[rank].push_back(layer_assignments);
  }
  void OnReport(Rank rank, StepReport report) {
    MutexLock lock(mutex_);
    if (spec_.stop_after_report == report.step) stop_ = true;
    if (spec_.checkpoint_after_report == report.step) checkpoint_ = true;
    outcome_.reports.push_back(std::move(report));
    outcome_.reporters.push_back(rank);
  }
  void OnEvaluation(Rank rank, EvaluationReport report) {
    MutexLock lock(mutex_);
    outcome_.evaluations.push_back(std::move(report));
    outcome_.evaluation_reporters.push_back(rank);
  }
  void OnTokens(TokenReport report) {
    MutexLock lock(mutex_);
    outcome_.tokens[report.step][report.rank] = std::move(report);
  }
  void OnCheckpointWritten(Rank rank, WrittenCheckpoint written) {
    MutexLock lock(mutex_);
    outcome_.checkpoints[written.step][rank] = std::move(written);
  }
  void OnCheckpointFailed(Step step, bool skipped, const std::string& cause) {
    MutexLock lock(mutex_);
    (skipped ? outcome_.checkpoints_skipped : outcome_.checkpoints_failed)[step] = cause;
  }
  RunOutcome Take() {
    MutexLock lock(mutex_);
    return std::move(outcome_);
  }

 private:
  const RunSpec& spec_;
  ThreadCommunicatorGroup& group_;
  Mutex mutex_;
  size_t next_ GUARDED_BY(mutex_) = 0;  // in spec_.plans
  bool stop_ GUARDED_BY(mutex_) = false;
  bool checkpoint_ GUARDED_BY(mutex_) = false;
  RunOutcome outcome_ GUARDED_BY(mutex_);
};

// The script as one rank sees it.
class RankScript final : public StepCoordination {
 public:
  RankScript(const RunSpec& spec, Script& script, Rank rank) : spec_(spec), script_(script), rank_(rank) {}

  HeaderCells Cells() override {
    HeaderCells cells = script_.Cells();
    cells.attached = spec_.attached == nullptr || spec_.attached(rank_, step_);
    return cells;
  }
  void OnDecided(Rank, PlanVersion version, Step) override { script_.OnDecided(version); }
  void OnActive(Rank rank, PlanVersion version, Step step) override { script_.OnActive(rank, version, step); }
  bool OnApplying(Rank rank, Step step, PlanVersion plan) override {
    script_.OnApplying(rank, step, plan);
    return true;
  }
  void OnStepDone(Rank rank, Step step) override {
    step_ = step.Next();
    script_.OnStepDone(rank, step);
  }
  void OnRankStep(Rank rank, const RankStep& step, const std::vector<int64_t>& layer_assignments) override {
    script_.OnRankStep(rank, step, layer_assignments);
  }
  void OnReport(StepReport report) override { script_.OnReport(rank_, std::move(report)); }
  void OnEvaluation(EvaluationReport report) override { script_.OnEvaluation(rank_, std::move(report)); }
  void OnTokens(TokenReport report) override { script_.OnTokens(std::move(report)); }
  void OnCheckpointWritten(Rank rank, WrittenCheckpoint written) override {
    script_.OnCheckpointWritten(rank, std::move(written));
  }
  void OnCheckpointFailed(Step step, bool skipped, const std::string& cause) override {
    script_.OnCheckpointFailed(step, skipped, cause);
  }

 private:
  const RunSpec& spec_;
  Script& script_;
  const Rank rank_;
  Step step_{1};  // that the rank is in
};

Topology TopologyOf(const RunSpec& spec) {
  if (spec.node_of_rank.empty()) return Topology::OneNode(spec.ranks);
  std::vector<std::string> names;
  for (int node : spec.node_of_rank) names.push_back("node" + std::to_string(node));
  return Topology::FromNodeNames(names);
}

TrainResult RunRank(const RunSpec& spec, const ParameterLayout& layout, PlanPtr first, Rank self,
                    Communicator& communicator, Script& script,
                    std::shared_ptr<const RetainedRank>& retained) {
  auto backend =
      spec.make_backend != nullptr ? spec.make_backend(self) : MakeCpuBackend(DType::kFloat32).value();
  auto model = GptMoe::Make(spec.job.model, layout, *backend, spec.job.training.recompute).value();
  GeneratedBatches batches(spec.job, self, spec.read_error);
  SteadyClock clock;
  RankScript coordination(spec, script, self);
  TrainerOptions options;
  options.job = std::make_shared<JobConfig>(spec.job);
  options.sampling = spec.sampling;
  options.plan = std::move(first);
  options.topology = TopologyOf(spec);
  options.exchange_timeout = Seconds(60);
  options.poison_vacated = true;
  const Optimizer::FillState initial =
      spec.fill_state != nullptr ? spec.fill_state : InitialWeights(spec.job, layout, *backend);
  auto fill = [&](BlockId block, void* state) {
    absl::Status filled = initial(block, state);
    if (spec.edit_master != nullptr) spec.edit_master(block, state);
    return filled;
  };
  options.start_step = spec.start_step;
  if (!spec.retained.empty()) options.retained = spec.retained[self.index()].get();
  options.checkpoint_writer.before_write = spec.before_checkpoint;
  auto trainer = Trainer::Make(options, {.layout = layout,
                                         .backend = *backend,
                                         .communicator = communicator,
                                         .model = *model,
                                         .batches = batches,
                                         .coordination = coordination,
                                         .clock = clock,
                                         .fill_state = fill});
  if (!trainer.ok()) return {trainer.status(), Step(), false};
  TrainResult result = (*trainer)->Run();
  if (result.resumable) retained = std::make_shared<const RetainedRank>((*trainer)->Release().value());
  return result;
}

}  // namespace

JobConfig TinyJob() {
  JobConfig job;
  job.name = JobId("tiny");
  job.model.vocabulary_size = 17;
  job.model.hidden_size = 12;
  job.model.layers = 2;
  job.model.attention_heads = 2;
  job.model.key_value_heads = 1;
  job.model.head_size = 6;
  job.model.initializer_range = 0.1;
  job.model.moe.experts = 5;
  job.model.moe.top_k = 2;
  job.model.moe.intermediate_size = 9;
  job.model.moe.load_balance_coefficient = 0.01;
  job.model.moe.z_loss_coefficient = 0.001;
  job.data.sequence_length = 12;
  job.optimizer.learning_rate = 0.01;
  job.optimizer.learning_rate_min = 0.001;
  job.optimizer.warmup_steps = 5;
  job.optimizer.weight_decay = 0.1;
  job.optimizer.clip_norm = 1.0;
  job.training.steps = 60;
  job.training.global_batch_sequences = 7;
  job.training.microbatch_sequences = 2;
  job.training.seed = 3;
  job.training.evaluation_sequences = 0;
  job.placement.slots_per_rank = 3;
  job.placement.block_elements = 40;
  return job;
}

ParameterLayout LayoutOf(const JobConfig& job) {
  return ParameterLayout::Make(job.model, job.placement.block_elements).value();
}

PlanPtr FirstPlan(const JobConfig& job, const ParameterLayout& layout, int ranks) {
  auto plan = std::make_shared<Plan>();
  plan->stamp.job = job.name;
  plan->stamp.generation = Generation(1);
  plan->stamp.version = PlanVersion(1);
  plan->stamp.not_before_step = Step(1);
  plan->body = ContiguousPlan(job, layout, ranks).value();
  return plan;
}

std::vector<double> RunOutcome::losses() const {
  std::vector<double> values;
  for (const StepReport& report : reports) values.push_back(report.loss);
  return values;
}

RunOutcome RunTraining(const RunSpec& spec) {
  const ParameterLayout layout = LayoutOf(spec.job);
  auto first = std::make_shared<Plan>(*FirstPlan(spec.job, layout, spec.ranks));
  if (spec.edit != nullptr) spec.edit(first->body);
  ThreadCommunicatorGroup group(spec.ranks);
  Script script(spec, group);
  std::vector<TrainResult> results(spec.ranks);
  std::vector<std::shared_ptr<const RetainedRank>> retained(spec.ranks);
  std::vector<CommStats> stats(spec.ranks);
  OnAllRanks(spec.ranks, [&](Rank self) {
    auto communicator = spec.connect != nullptr ? spec.connect(self) : group.Take(self);
    results[self.index()] = RunRank(spec, layout, first, self, *communicator, script, retained[self.index()]);
    stats[self.index()] = communicator->stats();
  });
  RunOutcome outcome = script.Take();
  outcome.results = std::move(results);
  outcome.retained = std::move(retained);
  outcome.stats = std::move(stats);
  for (int from = 0; from < spec.ranks; ++from) {
    outcome.pairs.emplace_back();
    for (int to = 0; to < spec.ranks; ++to)
      outcome.pairs[from].push_back(group.PairStats(Rank(from), Rank(to)));
  }
  return outcome;
}

double RelativeDifference(const std::vector<double>& a, const std::vector<double>& b) {
  BALLAST_CHECK(a.size() == b.size()) << a.size() << " and " << b.size() << " values";
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]) / std::abs(b[i]));
  return worst;
}

}  // namespace ballast
