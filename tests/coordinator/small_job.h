// A job small enough for transcripts: one layer, four experts, any number of ranks up to four.
#pragma once

#include <memory>
#include <string>

#include "plan/job_config.h"

namespace ballast {

inline std::shared_ptr<JobConfig> SmallJob(const std::string& name, int ranks) {
  auto job = std::make_shared<JobConfig>();
  job->name = JobId(name);
  job->model = ModelConfig{.vocabulary_size = 8,
                           .hidden_size = 4,
                           .layers = 1,
                           .attention_heads = 1,
                           .key_value_heads = 1,
                           .head_size = 4,
                           .moe = MoeConfig{.experts = 4,
                                            .top_k = 1,
                                            .intermediate_size = 4,
                                            .load_balance_coefficient = 0,
                                            .z_loss_coefficient = 0}};
  job->data.sources = {DataSource{"text", "text"}};
  job->data.mixture = {MixturePhase{Step(1), {1.0}}};
  job->data.sequence_length = 8;
  job->training.steps = 100;
  job->training.global_batch_sequences = 4;
  job->training.microbatch_sequences = 1;
  job->placement.ranks = ranks;
  job->placement.slots_per_rank = 4;
  job->placement.block_elements = 16;
  return job;
}

}  // namespace ballast
