// JobConfig: a training job as a value. wire/ makes it from a JobSpec (YAML or JSON) and validates it there;
// everything below the wire takes it as true.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"

namespace ballast {

enum class DType { kFloat32, kFloat64, kBFloat16 };

// Which activations are worked out again in the backward instead of being kept: less memory for more time,
// and the same bits. The forward of a MoE block includes its dispatch and combine.
enum class Recompute {
  kNone,
  kMoe,  // each layer's MoE block, from its input
  kFull  // each layer, from its input
};
// "float32" and the like, as job files say it.
const char* ToString(DType dtype);
const char* ToString(Recompute recompute);  // "none", "moe", "full"

// The MoE feed-forward of every transformer layer (all layers are MoE layers, as in Mixtral).
struct MoeConfig {
  int experts = 0;                      // E per layer
  int top_k = 0;                        // 1..E
  int intermediate_size = 0;            // width of the SwiGLU inside one expert
  double load_balance_coefficient = 0;  // per-sequence load-balance loss, averaged over the global batch
  double z_loss_coefficient = 0;
};

// A decoder-only transformer shaped like Mixtral.
struct ModelConfig {
  int vocabulary_size = 0;
  int hidden_size = 0;
  int layers = 0;
  int attention_heads = 0;
  int key_value_heads = 0;  // divides attention_heads
  int head_size = 0;        // even, for the rotary embedding
  double rope_theta = 10000;
  double rms_norm_epsilon = 1e-5;
  double initializer_range = 0.02;  // standard deviation of initial weights
  MoeConfig moe;
};

struct DataSource {
  std::string name;
  std::string prefix;  // files <prefix>.bin and <prefix>.idx, Megatron's indexed format
};

// From step `from_step` on (until the next phase) a sequence comes from source i with probability
// weights[i] / sum(weights).
struct MixturePhase {
  Step from_step{1};
  std::vector<double> weights;  // one per source, in the order of DataConfig::sources
};

struct DataConfig {
  std::vector<DataSource> sources;    // at least one
  std::vector<MixturePhase> mixture;  // rising from_step, the first is 1; at least one
  int sequence_length = 0;            // tokens predicted per sequence; a sample is one token longer
  double held_out_fraction = 0.05;    // the last part of each source's tokens, used by evaluation alone
};

struct OptimizerConfig {  // AdamW (Loshchilov and Hutter, arXiv 1711.05101)
  double learning_rate = 0;
  double learning_rate_min = 0;  // the cosine's end
  int64_t warmup_steps = 0;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0;  // on matrices alone, not on norms
  double clip_norm = 1.0;   // of the global gradient; 0 = no clipping
};

struct TrainingConfig {
  int64_t steps = 0;
  int global_batch_sequences = 0;
  int microbatch_sequences = 0;  // per rank and microbatch, at most
  uint64_t seed = 0;
  int64_t evaluate_every = 0;    // steps; 0 = before the first and after the last step only
  int evaluation_sequences = 0;  // per source and evaluation
  // Of weights, activations and gradients on every rank, whatever its device; sums, master weights and
  // moments are float32. Float32 or bfloat16.
  DType compute_dtype = DType::kFloat32;
  Recompute recompute = Recompute::kNone;
};

// Where experts may live and what may move; see docs/design.md for homes and slots.
struct PlacementConfig {
  int ranks = 0;           // as many as the job takes when they are there
  int ranks_min = 0;       // it trains on as few, after a loss or while no more are attached; 0 = as `ranks`
  int slots_per_rank = 0;  // expert slots of one rank in each MoE layer
  int64_t block_elements = int64_t{1} << 20;  // longest block of a parameter
  int64_t home_elements_per_rank = 0;  // home capacity of one rank, in parameters; 0 = twice the even share
  int64_t home_move_bytes_max = 0;     // of one plan and rank (in or out); 0 = 64 MiB
};

// When the planner acts; coordinator/planner/accept.h has the rule.
struct PlannerConfig {
  std::string strategy = "auto";  // a name of the planner registry
  int64_t plan_every_steps =
      10;  // looked at this often, and not sooner after a switch; it moves only when that pays
  int64_t warmup_steps = 5;  // no plan before this many steps were observed
  double min_gain = 0.05;    // predicted gain below which nothing moves, as a share of the present imbalance
  double predictor_ewma = 0.3;    // weight of the newest sample, above 0 and at most 1
  int64_t horizon_steps = 50;     // a plan must have paid for its slot writes within the last so many steps
  double slot_write_cost = 0.02;  // of one slot write, in units of one layer's balanced step
  int64_t budget_ms = 200;        // what a look may take, about; turned into a count of placements
};

// The all-to-all of every MoE layer of the first plan; later plans may differ.
struct ScheduleConfig {
  std::string all_to_all = "direct";
  int chunks = 1;
  std::string dispatch_compressor = "none";
  std::string combine_compressor = "none";
};

// What a loss of ranks may cost before the job is given up.
struct RecoveryConfig {
  // Recoveries from one checkpoint within `window_s`; one more ends the job FAILED. A newer checkpoint begins
  // the count anew.
  int max_recoveries = 5;
  int64_t window_s = 600;
};

// What is written to be resumed or recovered from; docs/checkpoints.md has the files.
struct CheckpointConfig {
  std::string path;         // a directory that every worker sees; empty = no checkpoints
  int64_t every_steps = 0;  // after every step that it divides; 0 = on request only
  int keep_last = 3;        // complete ones that are kept
};

struct JobConfig {
  JobId name;
  ModelConfig model;
  DataConfig data;
  OptimizerConfig optimizer;
  TrainingConfig training;
  PlacementConfig placement;
  PlannerConfig planner;
  ScheduleConfig schedule;
  RecoveryConfig recovery;
  CheckpointConfig checkpoint;

  int ranks_max() const { return placement.ranks; }
  int ranks_min() const { return placement.ranks_min > 0 ? placement.ranks_min : placement.ranks; }
};

}  // namespace ballast
