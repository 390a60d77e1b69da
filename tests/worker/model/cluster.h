// A model on N ranks as threads of this process, for tests: every rank holds all dense weights and the
// experts that the plan gives it, runs its part of a global batch, and all gradients are brought together.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "plan/layout.h"
#include "plan/plan.h"
#include "plan/topology.h"
#include "worker/backend/backend.h"
#include "worker/comm/communicator.h"
#include "worker/model/gpt_moe.h"

namespace ballast {

// Values by parameter, in the order of the layout.
using ParameterValues = std::vector<std::vector<double>>;

struct ClusterJob {
  ModelConfig model;
  PlanBody plan;
  Topology topology;  // its ranks are the cluster's
  DType dtype = DType::kFloat64;
  ParameterValues weights;
  Microbatch batch;              // the global one; rank r gets sequences PartBegin(n, ranks, r)..
  int microbatch_sequences = 2;  // at most, per rank
  bool backward = true;
  // What the model of a rank uses instead of the CPU backend that it is given.
  std::function<std::unique_ptr<Backend>(Rank, Backend&)> wrap;
};

struct ClusterResult {
  std::vector<absl::Status> status;                 // [rank]
  std::vector<double> cross_entropy;                // [global sequence]
  std::vector<double> load_balance, z_loss;         // [global sequence]
  ParameterValues gradients;                        // summed over ranks in rank order
  std::vector<std::vector<int64_t>> expert_tokens;  // [layer][expert] summed over microbatches
  std::vector<std::vector<int64_t>> rank_tokens;    // [layer][rank] summed over microbatches
  std::vector<uint64_t> split_hash;                 // [rank], of all microbatches
  std::vector<StepFailure> failure;                 // [rank], of the first microbatch that has one
  std::vector<CommStats> stats;                     // [rank]
  int microbatches = 0;
};

ClusterResult RunCluster(const ClusterJob& job);

// The loss that the gradients are of.
double LossOf(const ClusterJob& job, const ClusterResult& result);

// A small model with odd sizes.
ModelConfig SmallModel(int experts, int top_k);
ParameterLayout LayoutOf(const ModelConfig& model);

// Normal weights of standard deviation 0.4, norms around 1: large enough that everything matters.
ParameterValues RandomWeights(const ModelConfig& model, uint64_t seed);
Microbatch RandomBatch(const ModelConfig& model, int64_t sequences, int64_t length, uint64_t seed);

// hosts[rank] = its experts, slot by slot; -1 is an empty slot. The same in every layer.
PlanBody PlanOf(const ModelConfig& model, const std::vector<std::vector<int>>& hosts,
                const LayerSchedule& schedule = {});

}  // namespace ballast
