// A whole training run in one process: ranks as threads, generated tokens, and a script of plans in place of
// a daemon.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "plan/job_config.h"
#include "plan/layout.h"
#include "plan/plan.h"
#include "plan/topology.h"
#include "worker/comm/communicator.h"
#include "worker/comm/thread_communicator.h"
#include "worker/optimizer/optimizer.h"
#include "worker/trainer/batch_source.h"
#include "worker/trainer/trainer.h"

namespace ballast {

// A model of a few thousand parameters with sizes that nothing divides: 5 experts, 7 sequences a step, blocks
// of 40.
JobConfig TinyJob();

// The layout of `job`.
ParameterLayout LayoutOf(const JobConfig& job);

// Version 1 of `job`: the contiguous plan on `ranks` ranks.
PlanPtr FirstPlan(const JobConfig& job, const ParameterLayout& layout, int ranks);

struct RunSpec {
  // How a rank gets its communicator; the default are threads of one process without a network.
  std::function<std::unique_ptr<Communicator>(Rank)> connect;
  // Its backend; the default is the CPU's in float.
  std::function<std::unique_ptr<Backend>(Rank)> make_backend;
  JobConfig job;
  int ranks = 1;
  std::vector<int> node_of_rank;        // empty = all on one node
  std::function<void(PlanBody&)> edit;  // of the first plan
  // Versions 2, 3, ..: each is staged and committed as soon as the one before is active at all ranks.
  std::vector<PlanPtr> plans;
  // Whether the daemon of a rank has a stream to the coordinator in a step; null = it always has.
  std::function<bool(Rank, Step)> attached;
  Step start_step{1};
  Optimizer::FillState fill_state;          // the default are initial weights
  std::function<void()> before_checkpoint;  // on the thread that writes one
  Step stop_after_report;                   // a stop request is made when this step is reported; 0 = none
  Step checkpoint_after_report;             // the same for a checkpoint; before a stop
  std::function<void(ThreadCommunicatorGroup&, Rank, Step)> on_step_done;
  std::vector<std::shared_ptr<const RetainedRank>> retained;  // [rank] to begin with; empty = nothing
  std::function<absl::Status(Rank, Step)> read_error;         // of the batch source
  TokenSampling sampling;                                     // what ranks tell of their tokens
  std::function<void(BlockId, void* master)> edit_master;     // after the initial weights are filled in
};

struct RunOutcome {
  std::vector<TrainResult> results;                           // [rank]
  std::vector<std::shared_ptr<const RetainedRank>> retained;  // [rank] by resumable ones
  std::map<Rank, Frozen::RankProgress> applied;               // the last update of each rank that made one
  std::vector<StepReport> reports;                            // in the order in which they were made
  std::vector<Rank> reporters;                                // [report] the rank that made it
  std::vector<EvaluationReport> evaluations;                  // in the order in which they were made
  std::vector<Rank> evaluation_reporters;                     // [evaluation]
  std::map<PlanVersion, std::map<Rank, Step>> active;         // switch steps as the ranks told them
  std::vector<CommStats> stats;                               // [rank] at the end
  std::vector<std::vector<CommStats>> pairs;  // [from][to] at the end; of thread communicators alone
  std::map<Step, std::map<Rank, WrittenCheckpoint>> checkpoints;
  std::map<Step, std::string> checkpoints_skipped, checkpoints_failed;
  std::map<Rank, std::vector<RankStep>> rank_steps;
  std::map<Step, std::map<Rank, TokenReport>> tokens;
  std::map<Rank, std::vector<std::vector<int64_t>>> layer_assignments;  // [step][layer]
  std::vector<double> losses() const;                                   // [step]
};

RunOutcome RunTraining(const RunSpec& spec);

// Largest |a - b| / |b|; the lengths must be equal.
double RelativeDifference(const std::vector<double>& a, const std::vector<double>& b);

}  // namespace ballast
