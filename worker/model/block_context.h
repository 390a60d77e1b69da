// BlockContext: what one microbatch brings to every block of the model.
#pragma once

#include "plan/job_config.h"
#include "worker/backend/backend.h"
#include "worker/model/parameters.h"

namespace ballast {

struct BlockContext {
  const ModelConfig& config;
  Backend& backend;
  Stream& stream;
  const ModelParameters& parameters;
  AttentionShape shape;
};

}  // namespace ballast
