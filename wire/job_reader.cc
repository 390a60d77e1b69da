#include "wire/job_reader.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/math.h"
#include "base/status_macros.h"
#include "plan/contiguous.h"
#include "plan/diff.h"
#include "plan/validate.h"
#include "wire/field_checker.h"

namespace ballast {
namespace {

constexpr int kSourcesMax = 64;
constexpr int kPhasesMax = 1024;
constexpr int64_t kExpertsMax = 1 << 17;  // over all layers; bounds what a plan of the job takes
constexpr int64_t kStepsMax = 1'000'000'000;
constexpr size_t kPathMax = 3072;  // what is left of the system's 4096 takes the names below it

ModelConfig CheckModel(const v1::JobSpec::Model& spec, FieldChecker& check) {
  const ModelConfig defaults;
  ModelConfig model;
  model.vocabulary_size =
      check.Whole("model.vocabulary_size", BALLAST_FIELD(spec, vocabulary_size), {2, 1 << 20}, 257);
  model.hidden_size = check.Whole("model.hidden_size", BALLAST_FIELD(spec, hidden_size), {1, 1 << 16});
  model.layers = check.Whole("model.layers", BALLAST_FIELD(spec, layers), {1, 1024});
  model.attention_heads =
      check.Whole("model.attention_heads", BALLAST_FIELD(spec, attention_heads), {1, 1024});
  model.key_value_heads = check.Whole("model.key_value_heads", BALLAST_FIELD(spec, key_value_heads),
                                      {1, model.attention_heads, "attention_heads"}, model.attention_heads);
  check.Require(model.attention_heads % model.key_value_heads == 0, "model.key_value_heads",
                absl::StrCat("found ", model.key_value_heads, ", allowed divisors of ", model.attention_heads,
                             " (attention_heads)"));
  if (!spec.has_head_size()) {
    check.Require(model.hidden_size % model.attention_heads == 0, "model.head_size",
                  absl::StrCat("found nothing, and hidden_size ", model.hidden_size, " does not divide by ",
                               model.attention_heads, " (attention_heads)"));
  }
  model.head_size = check.Whole("model.head_size", BALLAST_FIELD(spec, head_size), {2, 4096},
                                model.hidden_size / model.attention_heads);
  check.Require(model.head_size % 2 == 0, "model.head_size",
                absl::StrCat("found ", model.head_size, ", allowed even numbers (for the rotary embedding)"));
  model.rope_theta =
      check.Real("model.rope_theta", BALLAST_FIELD(spec, rope_theta), {1, 1e12}, defaults.rope_theta);
  model.rms_norm_epsilon = check.Real("model.rms_norm_epsilon", BALLAST_FIELD(spec, rms_norm_epsilon),
                                      {.low = 0, .high = 1, .low_open = true}, defaults.rms_norm_epsilon);
  model.initializer_range = check.Real("model.initializer_range", BALLAST_FIELD(spec, initializer_range),
                                       {.low = 0, .high = 10, .low_open = true}, defaults.initializer_range);

  const v1::JobSpec::Moe& moe = spec.moe();
  model.moe.experts = check.Whole("model.moe.experts", BALLAST_FIELD(moe, experts), {1, 4096});
  check.Require(int64_t{model.layers} * model.moe.experts <= kExpertsMax, "model.moe.experts",
                absl::StrCat("found ", model.moe.experts, " in each of ", model.layers, " layers, allowed ",
                             kExpertsMax, " in all"));
  model.moe.top_k =
      check.Whole("model.moe.top_k", BALLAST_FIELD(moe, top_k), {1, model.moe.experts, "number of experts"});
  model.moe.intermediate_size =
      check.Whole("model.moe.intermediate_size", BALLAST_FIELD(moe, intermediate_size), {1, 1 << 18});
  model.moe.load_balance_coefficient = check.Real(
      "model.moe.load_balance_coefficient", BALLAST_FIELD(moe, load_balance_coefficient), {0, 100}, 0.01);
  model.moe.z_loss_coefficient =
      check.Real("model.moe.z_loss_coefficient", BALLAST_FIELD(moe, z_loss_coefficient), {0, 100}, 0.001);
  return model;
}

// The weights of one phase, in the order of the sources.
std::vector<double> CheckWeights(const v1::JobSpec::MixturePhase& phase, const std::string& path,
                                 const std::vector<DataSource>& sources, FieldChecker& check) {
  std::set<std::string> names;
  for (const DataSource& source : sources) names.insert(source.name);
  // A protobuf map has no order; the first complaint must not depend on it.
  std::set<std::string> given;
  for (const auto& [name, weight] : phase.weights()) given.insert(name);
  for (const std::string& name : given) {
    check.Require(names.count(name) > 0, absl::StrCat(path, ".", name),
                  "found no such source in data.sources");
  }
  std::vector<double> weights;
  double sum = 0;
  for (const DataSource& source : sources) {
    auto it = phase.weights().find(source.name);
    if (it == phase.weights().end()) {
      check.Require(false, path,
                    absl::StrCat("found no weight of source ", source.name, ", allowed one of every source"));
      return weights;
    }
    weights.push_back(check.Real(absl::StrCat(path, ".", source.name), it->second, {0, 1e9}));
    sum += weights.back();
  }
  check.Require(sum > 0, path, "found weights that are all 0, allowed at least one above 0");
  return weights;
}

DataConfig CheckData(const v1::JobSpec::Data& spec, FieldChecker& check) {
  const DataConfig defaults;
  DataConfig data;
  check.Require(spec.sources_size() >= 1 && spec.sources_size() <= kSourcesMax, "data.sources",
                absl::StrCat("found ", spec.sources_size(), " sources, allowed 1..", kSourcesMax));
  std::set<std::string> names;
  for (int i = 0; i < spec.sources_size() && check.ok(); ++i) {
    std::string path = absl::StrCat("data.sources[", i, "]");
    DataSource source;
    source.name = check.Name(path + ".name", BALLAST_FIELD(spec.sources(i), name));
    check.Require(names.insert(source.name).second, path + ".name",
                  absl::StrCat("found ", source.name, " a second time, allowed one source of a name"));
    source.prefix = check.Text(path + ".prefix", BALLAST_FIELD(spec.sources(i), prefix));
    data.sources.push_back(std::move(source));
  }

  check.Require(spec.mixture_size() <= kPhasesMax, "data.mixture",
                absl::StrCat("found ", spec.mixture_size(), " phases, allowed at most ", kPhasesMax));
  for (int i = 0; i < spec.mixture_size() && check.ok(); ++i) {
    std::string path = absl::StrCat("data.mixture[", i, "]");
    const v1::JobSpec::MixturePhase& phase = spec.mixture(i);
    WholeRange from = i == 0 ? WholeRange{1, 1, "the first phase begins with the job"}
                             : WholeRange{data.mixture.back().from_step.value() + 1, kStepsMax,
                                          "after the phase before it"};
    MixturePhase result;
    result.from_step = Step(check.Whole(path + ".from_step", BALLAST_FIELD(phase, from_step), from));
    result.weights = CheckWeights(phase, path + ".weights", data.sources, check);
    data.mixture.push_back(std::move(result));
  }
  if (data.mixture.empty()) data.mixture = {{Step(1), std::vector<double>(data.sources.size(), 1.0)}};

  data.sequence_length =
      check.Whole("data.sequence_length", BALLAST_FIELD(spec, sequence_length), {1, 1 << 20});
  data.held_out_fraction =
      check.Real("data.held_out_fraction", BALLAST_FIELD(spec, held_out_fraction),
                 {.low = 0, .high = 1, .low_open = true, .high_open = true}, defaults.held_out_fraction);
  return data;
}

OptimizerConfig CheckOptimizer(const v1::JobSpec::Optimizer& spec, FieldChecker& check) {
  const OptimizerConfig defaults;
  OptimizerConfig optimizer;
  optimizer.learning_rate = check.Real("optimizer.learning_rate", BALLAST_FIELD(spec, learning_rate),
                                       {.low = 0, .high = 100, .low_open = true});
  optimizer.learning_rate_min = check.Real(
      "optimizer.learning_rate_min", BALLAST_FIELD(spec, learning_rate_min),
      {.low = 0, .high = optimizer.learning_rate, .why = "learning_rate"}, defaults.learning_rate_min);
  optimizer.warmup_steps = check.Whole("optimizer.warmup_steps", BALLAST_FIELD(spec, warmup_steps),
                                       {0, kStepsMax}, defaults.warmup_steps);
  const RealRange decay = {.low = 0, .high = 1, .high_open = true};
  optimizer.beta1 = check.Real("optimizer.beta1", BALLAST_FIELD(spec, beta1), decay, defaults.beta1);
  optimizer.beta2 = check.Real("optimizer.beta2", BALLAST_FIELD(spec, beta2), decay, defaults.beta2);
  optimizer.epsilon = check.Real("optimizer.epsilon", BALLAST_FIELD(spec, epsilon),
                                 {.low = 0, .high = 1, .low_open = true}, defaults.epsilon);
  optimizer.weight_decay = check.Real("optimizer.weight_decay", BALLAST_FIELD(spec, weight_decay), {0, 100},
                                      defaults.weight_decay);
  optimizer.clip_norm =
      check.Real("optimizer.clip_norm", BALLAST_FIELD(spec, clip_norm), {0, 1e9}, defaults.clip_norm);
  return optimizer;
}

TrainingConfig CheckTraining(const v1::JobSpec::Training& spec, FieldChecker& check) {
  TrainingConfig training;
  training.steps = check.Whole("training.steps", BALLAST_FIELD(spec, steps), {1, kStepsMax});
  training.global_batch_sequences = check.Whole("training.global_batch_sequences",
                                                BALLAST_FIELD(spec, global_batch_sequences), {1, 1 << 20});
  training.microbatch_sequences = check.Whole(
      "training.microbatch_sequences", BALLAST_FIELD(spec, microbatch_sequences),
      {1, training.global_batch_sequences, "global_batch_sequences"}, training.global_batch_sequences);
  training.seed = spec.seed();  // any 64 bits will do
  training.evaluate_every = check.Whole("training.evaluate_every", BALLAST_FIELD(spec, evaluate_every),
                                        {0, training.steps, "training.steps"}, 0);
  training.evaluation_sequences = check.Whole("training.evaluation_sequences",
                                              BALLAST_FIELD(spec, evaluation_sequences), {1, 1 << 20}, 8);
  const std::string dtype =
      check.Choice("training.compute_dtype", BALLAST_FIELD(spec, compute_dtype),
                   {ToString(DType::kFloat32), ToString(DType::kBFloat16)}, ToString(training.compute_dtype));
  if (dtype == ToString(DType::kBFloat16)) training.compute_dtype = DType::kBFloat16;
  const std::string recompute =
      check.Choice("training.recompute", BALLAST_FIELD(spec, recompute),
                   {ToString(Recompute::kNone), ToString(Recompute::kMoe), ToString(Recompute::kFull)},
                   ToString(training.recompute));
  if (recompute == ToString(Recompute::kMoe)) training.recompute = Recompute::kMoe;
  if (recompute == ToString(Recompute::kFull)) training.recompute = Recompute::kFull;
  return training;
}

// placement.ranks says how many ranks; ranks.min and ranks.max may say that fewer do. Either names the
// highest number.
void CheckRanks(const v1::JobSpec& spec, PlacementConfig& placement, FieldChecker& check) {
  const v1::JobSpec::Ranks& ranks = spec.ranks();
  const WholeRange range{1, 1 << 14};
  if (ranks.has_max()) {
    placement.ranks = check.Whole("ranks.max", BALLAST_FIELD(ranks, max), range);
    check.Require(!spec.placement().has_ranks() || spec.placement().ranks() == placement.ranks,
                  "placement.ranks",
                  absl::StrCat("found ", spec.placement().ranks(), ", allowed ", placement.ranks,
                               " (ranks.max), or leave it out"));
  } else {
    placement.ranks = check.Whole("placement.ranks", BALLAST_FIELD(spec.placement(), ranks), range);
  }
  placement.ranks_min =
      check.Whole("ranks.min", BALLAST_FIELD(ranks, min), {1, placement.ranks, "ranks.max"}, placement.ranks);
}

RecoveryConfig CheckRecovery(const v1::JobSpec::Recovery& spec, FieldChecker& check) {
  const RecoveryConfig defaults;
  RecoveryConfig recovery;
  recovery.max_recoveries = check.Whole("recovery.max_recoveries", BALLAST_FIELD(spec, max_recoveries),
                                        {0, 100}, defaults.max_recoveries);
  recovery.window_s =
      check.Whole("recovery.window_s", BALLAST_FIELD(spec, window_s), {1, 1'000'000}, defaults.window_s);
  return recovery;
}

PlacementConfig CheckPlacement(const v1::JobSpec& job, int experts, FieldChecker& check) {
  const v1::JobSpec::Placement& spec = job.placement();
  const PlacementConfig defaults;
  PlacementConfig placement;
  CheckRanks(job, placement, check);
  int64_t least = CeilDiv(experts, placement.ranks);
  placement.slots_per_rank =
      check.Whole("placement.slots_per_rank", BALLAST_FIELD(spec, slots_per_rank),
                  {least, experts, absl::StrCat(placement.ranks, " ranks must hold ", experts, " experts")});
  placement.block_elements = check.Whole("placement.block_elements", BALLAST_FIELD(spec, block_elements),
                                         {1, int64_t{1} << 30}, defaults.block_elements);
  placement.home_elements_per_rank =
      check.Whole("placement.home_elements_per_rank", BALLAST_FIELD(spec, home_elements_per_rank),
                  {0, int64_t{1} << 48}, defaults.home_elements_per_rank);
  placement.home_move_bytes_max =
      check.Whole("placement.home_move_bytes_max", BALLAST_FIELD(spec, home_move_bytes_max),
                  {0, int64_t{1} << 48}, defaults.home_move_bytes_max);
  return placement;
}

PlannerConfig CheckPlanner(const v1::JobSpec::Planner& spec, const std::vector<std::string>& strategies,
                           FieldChecker& check) {
  const PlannerConfig defaults;
  PlannerConfig planner;
  planner.strategy =
      check.Choice("planner.strategy", BALLAST_FIELD(spec, strategy), strategies, defaults.strategy);
  planner.plan_every_steps = check.Whole("planner.plan_every_steps", BALLAST_FIELD(spec, plan_every_steps),
                                         {1, kStepsMax}, defaults.plan_every_steps);
  planner.warmup_steps = check.Whole("planner.warmup_steps", BALLAST_FIELD(spec, warmup_steps),
                                     {0, kStepsMax}, defaults.warmup_steps);
  planner.min_gain =
      check.Real("planner.min_gain", BALLAST_FIELD(spec, min_gain), {0, 1000}, defaults.min_gain);
  planner.predictor_ewma = check.Real("planner.predictor_ewma", BALLAST_FIELD(spec, predictor_ewma),
                                      {.low = 0, .high = 1, .low_open = true}, defaults.predictor_ewma);
  planner.horizon_steps = check.Whole("planner.horizon_steps", BALLAST_FIELD(spec, horizon_steps),
                                      {1, kStepsMax}, defaults.horizon_steps);
  planner.slot_write_cost = check.Real("planner.slot_write_cost", BALLAST_FIELD(spec, slot_write_cost),
                                       {0, 1e6}, defaults.slot_write_cost);
  planner.budget_ms =
      check.Whole("planner.budget_ms", BALLAST_FIELD(spec, budget_ms), {1, 60'000}, defaults.budget_ms);
  return planner;
}

CheckpointConfig CheckCheckpoint(const v1::JobSpec::Checkpoint& spec, FieldChecker& check) {
  const CheckpointConfig defaults;
  CheckpointConfig checkpoint;
  checkpoint.path = spec.path();
  check.Require(checkpoint.path.size() <= kPathMax, "checkpoint.path",
                absl::StrCat("found ", checkpoint.path.size(), " bytes, allowed ", kPathMax));
  checkpoint.every_steps = check.Whole("checkpoint.every_steps", BALLAST_FIELD(spec, every_steps),
                                       {0, kStepsMax}, defaults.every_steps);
  check.Require(checkpoint.every_steps == 0 || !checkpoint.path.empty(), "checkpoint.path",
                absl::StrCat("found nothing, and every_steps is ", checkpoint.every_steps,
                             ", allowed a directory that every worker sees"));
  checkpoint.keep_last = static_cast<int>(
      check.Whole("checkpoint.keep_last", BALLAST_FIELD(spec, keep_last), {1, 1 << 20}, defaults.keep_last));
  return checkpoint;
}

// Names and bounds of schedules are the plan's to know: CheckFirstPlan.
ScheduleConfig CheckSchedule(const v1::JobSpec::Schedule& spec, FieldChecker& check) {
  const ScheduleConfig defaults;
  ScheduleConfig schedule;
  schedule.all_to_all =
      check.Text("schedule.all_to_all", BALLAST_FIELD(spec, all_to_all), defaults.all_to_all);
  schedule.chunks =
      check.Whole("schedule.chunks", BALLAST_FIELD(spec, chunks), {1, 1 << 20}, defaults.chunks);
  schedule.dispatch_compressor = check.Text(
      "schedule.dispatch_compressor", BALLAST_FIELD(spec, dispatch_compressor), defaults.dispatch_compressor);
  schedule.combine_compressor = check.Text(
      "schedule.combine_compressor", BALLAST_FIELD(spec, combine_compressor), defaults.combine_compressor);
  return schedule;
}

// What only the parts of the plan can tell: that the model can be laid out, and that a first plan fits.
absl::Status CheckFirstPlan(const JobConfig& job) {
  BALLAST_ASSIGN_OR_RETURN(ParameterLayout layout,
                           ParameterLayout::Make(job.model, job.placement.block_elements));
  BALLAST_ASSIGN_OR_RETURN(PlanBody body, ContiguousPlan(job, layout, job.placement.ranks));
  const PlanLimits limits = LimitsFor(job, layout, job.placement.ranks);
  int64_t longest = 0;
  for (const Block& block : layout.blocks()) longest = std::max(longest, block.elements);
  FieldChecker check;
  check.Require(limits.home_move_bytes_max >= longest * kHomeBytesPerElement, "placement.home_move_bytes_max",
                absl::StrCat("found ", limits.home_move_bytes_max, ", allowed at least ",
                             longest * kHomeBytesPerElement, " (one block), or 0 for the default"));
  check.Choice("schedule.all_to_all", job.schedule.all_to_all, limits.all_to_alls);
  check.Whole("schedule.chunks", job.schedule.chunks, {1, limits.chunks_max});
  check.Choice("schedule.dispatch_compressor", job.schedule.dispatch_compressor, limits.compressors);
  check.Choice("schedule.combine_compressor", job.schedule.combine_compressor, limits.compressors);
  BALLAST_RETURN_IF_ERROR(check.status());
  return ValidatePlan(body, layout, limits);
}

}  // namespace

absl::StatusOr<JobConfig> JobFromSpec(const v1::JobSpec& spec, const std::vector<std::string>& strategies) {
  FieldChecker check;
  JobConfig job;
  job.name = JobId(check.Name("name", BALLAST_FIELD(spec, name)));
  job.model = CheckModel(spec.model(), check);
  job.data = CheckData(spec.data(), check);
  job.optimizer = CheckOptimizer(spec.optimizer(), check);
  job.training = CheckTraining(spec.training(), check);
  job.placement = CheckPlacement(spec, job.model.moe.experts, check);
  job.planner = CheckPlanner(spec.planner(), strategies, check);
  job.schedule = CheckSchedule(spec.schedule(), check);
  job.recovery = CheckRecovery(spec.recovery(), check);
  job.checkpoint = CheckCheckpoint(spec.checkpoint(), check);
  BALLAST_RETURN_IF_ERROR(check.status());
  BALLAST_RETURN_IF_ERROR(CheckFirstPlan(job));
  return job;
}

absl::StatusOr<JobConfig> ReadJob(const SourceText& source, const std::vector<std::string>& strategies) {
  v1::JobSpec spec;
  BALLAST_ASSIGN_OR_RETURN(FieldPositions positions, ReadStrict(source, &spec));
  absl::StatusOr<JobConfig> job = JobFromSpec(spec, strategies);
  if (!job.ok()) return positions.Locate(job.status());
  return job;
}

}  // namespace ballast
