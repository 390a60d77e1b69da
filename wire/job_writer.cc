// JobConfig -> JobSpec; the other direction is job_reader.cc.
#include "base/check.h"
#include "plan/layout.h"
#include "plan/validate.h"
#include "wire/job_reader.h"

namespace ballast {
namespace {

v1::JobSpec::Model ModelSpec(const ModelConfig& model) {
  v1::JobSpec::Model spec;
  spec.set_vocabulary_size(model.vocabulary_size);
  spec.set_hidden_size(model.hidden_size);
  spec.set_layers(model.layers);
  spec.set_attention_heads(model.attention_heads);
  spec.set_key_value_heads(model.key_value_heads);
  spec.set_head_size(model.head_size);
  spec.set_rope_theta(model.rope_theta);
  spec.set_rms_norm_epsilon(model.rms_norm_epsilon);
  spec.set_initializer_range(model.initializer_range);
  v1::JobSpec::Moe* moe = spec.mutable_moe();
  moe->set_experts(model.moe.experts);
  moe->set_top_k(model.moe.top_k);
  moe->set_intermediate_size(model.moe.intermediate_size);
  moe->set_load_balance_coefficient(model.moe.load_balance_coefficient);
  moe->set_z_loss_coefficient(model.moe.z_loss_coefficient);
  return spec;
}

v1::JobSpec::Data DataSpec(const DataConfig& data) {
  v1::JobSpec::Data spec;
  for (const DataSource& source : data.sources) {
    v1::JobSpec::Source* out = spec.add_sources();
    out->set_name(source.name);
    out->set_prefix(source.prefix);
  }
  for (const MixturePhase& phase : data.mixture) {
    v1::JobSpec::MixturePhase* out = spec.add_mixture();
    out->set_from_step(phase.from_step.value());
    for (size_t i = 0; i < data.sources.size(); ++i) {
      (*out->mutable_weights())[data.sources[i].name] = phase.weights[i];
    }
  }
  spec.set_sequence_length(data.sequence_length);
  spec.set_held_out_fraction(data.held_out_fraction);
  return spec;
}

v1::JobSpec::Optimizer OptimizerSpec(const OptimizerConfig& optimizer) {
  v1::JobSpec::Optimizer spec;
  spec.set_learning_rate(optimizer.learning_rate);
  spec.set_learning_rate_min(optimizer.learning_rate_min);
  spec.set_warmup_steps(optimizer.warmup_steps);
  spec.set_beta1(optimizer.beta1);
  spec.set_beta2(optimizer.beta2);
  spec.set_epsilon(optimizer.epsilon);
  spec.set_weight_decay(optimizer.weight_decay);
  spec.set_clip_norm(optimizer.clip_norm);
  return spec;
}

v1::JobSpec::Training TrainingSpec(const TrainingConfig& training) {
  v1::JobSpec::Training spec;
  spec.set_steps(training.steps);
  spec.set_global_batch_sequences(training.global_batch_sequences);
  spec.set_microbatch_sequences(training.microbatch_sequences);
  spec.set_seed(training.seed);
  spec.set_evaluate_every(training.evaluate_every);
  spec.set_evaluation_sequences(training.evaluation_sequences);
  spec.set_compute_dtype(ToString(training.compute_dtype));
  spec.set_recompute(ToString(training.recompute));
  return spec;
}

v1::JobSpec::Placement PlacementSpec(const PlacementConfig& placement) {
  v1::JobSpec::Placement spec;
  spec.set_ranks(placement.ranks);
  spec.set_slots_per_rank(placement.slots_per_rank);
  spec.set_block_elements(placement.block_elements);
  spec.set_home_elements_per_rank(placement.home_elements_per_rank);
  spec.set_home_move_bytes_max(placement.home_move_bytes_max);
  return spec;
}

v1::JobSpec::Planner PlannerSpec(const PlannerConfig& planner) {
  v1::JobSpec::Planner spec;
  spec.set_strategy(planner.strategy);
  spec.set_plan_every_steps(planner.plan_every_steps);
  spec.set_warmup_steps(planner.warmup_steps);
  spec.set_min_gain(planner.min_gain);
  spec.set_predictor_ewma(planner.predictor_ewma);
  spec.set_horizon_steps(planner.horizon_steps);
  spec.set_slot_write_cost(planner.slot_write_cost);
  spec.set_budget_ms(planner.budget_ms);
  return spec;
}

v1::JobSpec::Schedule ScheduleSpec(const ScheduleConfig& schedule) {
  v1::JobSpec::Schedule spec;
  spec.set_all_to_all(schedule.all_to_all);
  spec.set_chunks(schedule.chunks);
  spec.set_dispatch_compressor(schedule.dispatch_compressor);
  spec.set_combine_compressor(schedule.combine_compressor);
  return spec;
}

v1::JobSpec::Checkpoint CheckpointSpec(const CheckpointConfig& checkpoint) {
  v1::JobSpec::Checkpoint spec;
  spec.set_path(checkpoint.path);
  spec.set_every_steps(checkpoint.every_steps);
  spec.set_keep_last(checkpoint.keep_last);
  return spec;
}

}  // namespace

v1::JobSpec SpecFromJob(const JobConfig& job) {
  v1::JobSpec spec;
  spec.set_name(job.name.value());
  *spec.mutable_model() = ModelSpec(job.model);
  *spec.mutable_data() = DataSpec(job.data);
  *spec.mutable_optimizer() = OptimizerSpec(job.optimizer);
  *spec.mutable_training() = TrainingSpec(job.training);
  *spec.mutable_placement() = PlacementSpec(job.placement);
  *spec.mutable_planner() = PlannerSpec(job.planner);
  *spec.mutable_schedule() = ScheduleSpec(job.schedule);
  spec.mutable_ranks()->set_min(job.ranks_min());
  spec.mutable_ranks()->set_max(job.ranks_max());
  spec.mutable_recovery()->set_max_recoveries(job.recovery.max_recoveries);
  spec.mutable_recovery()->set_window_s(job.recovery.window_s);
  *spec.mutable_checkpoint() = CheckpointSpec(job.checkpoint);
  return spec;
}

v1::JobSpec ResolvedSpec(const JobConfig& job) {
  absl::StatusOr<ParameterLayout> layout = ParameterLayout::Make(job.model, job.placement.block_elements);
  BALLAST_CHECK_OK(layout.status());
  const PlanLimits limits = LimitsFor(job, *layout, job.placement.ranks);
  JobConfig resolved = job;
  resolved.placement.home_elements_per_rank = limits.home_elements_per_rank;
  resolved.placement.home_move_bytes_max = limits.home_move_bytes_max;
  return SpecFromJob(resolved);
}

}  // namespace ballast
