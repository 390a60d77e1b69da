// An independent double-precision implementation of the whole model and its loss, written from the formulas
// of the papers with plain loops; it shares no code with the worker. Gradients come from a tape.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace ballast::reference {

struct Config {
  int vocabulary = 0;
  int hidden = 0;
  int layers = 0;
  int heads = 0;
  int key_value_heads = 0;
  int head_size = 0;
  double theta = 0;
  double epsilon = 0;
  int experts = 0;
  int top_k = 0;
  int intermediate = 0;
  double load_balance_coefficient = 0;
  double z_loss_coefficient = 0;
};

// By the names of the Mixtral files, row-major.
using Tensors = std::map<std::string, std::vector<double>>;

struct Batch {
  int sequences = 0;
  int length = 0;
  std::vector<int32_t> inputs, targets;  // [sequence][position]
};

struct Result {
  double loss = 0;  // mean cross-entropy per token + coefficients times mean auxiliary losses per sequence
  std::vector<double> cross_entropy;                // [sequence] summed over tokens
  std::vector<double> load_balance;                 // [sequence] summed over layers
  std::vector<double> z_loss;                       // [sequence] summed over layers
  std::vector<std::vector<int64_t>> expert_tokens;  // [layer][expert]
  Tensors gradients;                                // of the loss
};

Result Run(const Config& config, const Tensors& weights, const Batch& batch);

}  // namespace ballast::reference
