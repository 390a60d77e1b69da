// JobSpec <-> JobConfig. Everything below the wire takes a JobConfig as true, so every range is checked here.
//
// Defaults are those of plan/job_config.h, and further:
//   model.key_value_heads = attention_heads; model.head_size = hidden_size / attention_heads; vocabulary_size
//   = 257 (bytes and the end of a document); moe.load_balance_coefficient = 0.01; moe.z_loss_coefficient =
//   0.001; data.mixture = all sources alike; training.microbatch_sequences = global_batch_sequences;
//   evaluation_sequences = 8. training.compute_dtype is "float32" or "bfloat16",
// training.recompute "none", "moe" or "full".
// Required: name, model.hidden_size, layers, attention_heads, moe.experts, top_k, intermediate_size,
// data.sources,
//   sequence_length, optimizer.learning_rate, training.steps, global_batch_sequences, placement.ranks or
//   ranks.max, placement.slots_per_rank. ranks.min = ranks.max.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/job.pb.h"
#include "plan/job_config.h"
#include "wire/strict_reader.h"

namespace ballast {

// Errors: InvalidArgument "model.moe.top_k: found 9, allowed 1..8 (number of experts)", the first in the
// order of the .proto. Safe for hostile input. `strategies` are the planner's known names; with none given
// the name is left to whoever knows it.
absl::StatusOr<JobConfig> JobFromSpec(const v1::JobSpec& spec,
                                      const std::vector<std::string>& strategies = {});

// Complete: every field is set; JobFromSpec gives `job` back.
v1::JobSpec SpecFromJob(const JobConfig& job);
// For people: as SpecFromJob, with the limits that depend on the model (LimitsFor) where `job` leaves them to
// the default. Requires a job that JobFromSpec has passed.
v1::JobSpec ResolvedSpec(const JobConfig& job);

// A job file, read and validated; errors have the field's place before them: "job.yaml:14:9: model.moe.top_k:
// ...".
absl::StatusOr<JobConfig> ReadJob(const SourceText& source, const std::vector<std::string>& strategies = {});

}  // namespace ballast
