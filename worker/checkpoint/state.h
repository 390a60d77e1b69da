// state.json: everything of a checkpoint that is no tensor.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ids.h"
#include "plan/job_config.h"
#include "plan/plan.h"

namespace ballast {

inline constexpr char kStateFile[] = "state.json";

struct CheckpointState {
  JobId job;
  Step step;  // taken after it; training goes on with the next
  Generation generation;
  uint64_t seed = 0;              // the batches of a step follow from it and the step
  int64_t sequences_trained = 0;  // over all steps: where in the data the run stands
  ModelConfig model;
  int ranks = 0;
  int slots_per_rank = 0;
  int64_t block_elements = 0;
  PlanVersion plan_version;
  PlanBody plan;  // of step + 1
};

std::string StateText(const CheckpointState& state);
// InvalidArgument names `file` and the member; another schema version is refused with both versions.
absl::StatusOr<CheckpointState> ReadState(const std::string& text, const std::string& file);

// FailedPrecondition when a checkpoint of `found` does not fit a job of `wanted`: the first field of the
// model that differs, with both values. Initial weights and loss coefficients may differ.
absl::Status CheckSameModel(const ModelConfig& found, const ModelConfig& wanted, const std::string& file);

}  // namespace ballast
