// A case of the MoE layer benchmark: the shape of a model, the tokens of a rank, and how they are routed.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace ballast::bench {

struct LayerCase {
  std::string shape;    // "mixtral", "deepseek", "qwen3", "tiny"
  std::string routing;  // "balanced", "zipf", "hot_rank"
  int64_t tokens = 0;   // of one rank
  int64_t hidden = 0;
  int64_t intermediate = 0;
  int experts = 0;
  int top_k = 0;

  // "mixtral T=8192 balanced"
  std::string Name() const;
  // Of a forward and a backward, on all ranks.
  double Flops(int ranks) const;
};

// InvalidArgument naming what is allowed.
absl::StatusOr<LayerCase> MakeCase(const std::string& shape, int64_t tokens, const std::string& routing);

// What is added to a N(0, 1) logit of the expert: 0; log(1 / (e + 1)); or 3 for the first half of the
// experts.
double LogitBias(const LayerCase& c, int expert);

}  // namespace ballast::bench
