// Loads from the lines that Megatron-LM's router tracer logs: which experts the tokens of one call of a
// router chose.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ballast {

// A line is an object with "step", "layer", "rank" (integers from 0), "top_indices" (the experts of each
// token,
// [[e, ...], ...], as many for each) and, if the trace has them, "stage" and "block" (integers; they name a
// layer together with "layer"), "num_tokens" and "topk" (checked). Other keys are left alone, blank lines
// too. Lines of one step, layer and rank are microbatches, in their order.
class MegatronTrace {
 public:
  // `experts` 0: the highest that was chosen, plus one. `tokens_layer`: the layer, in the order of (stage,
  // block, layer), whose tokens are kept; -1: none.
  MegatronTrace(int experts, int tokens_layer) : experts_(experts), tokens_layer_(tokens_layer) {}

  // InvalidArgument, beginning with `where`: not such a line, an expert out of range.
  absl::Status AddLine(const std::string& where, const std::string& line);

  // An array [step][layer][microbatch][source][expert] of 32-bit counts. InvalidArgument when there is no
  // line, or when a step, layer or rank has other ranks or another number of microbatches than the first.
  absl::StatusOr<std::string> Loads() const;
  // An array [token][k] of 16-bit experts, at most kTokensKept. InvalidArgument when the trace has no such
  // layer, or its tokens chose different numbers of experts.
  absl::StatusOr<std::string> Tokens() const;

  static constexpr int kExpertsMax = 65536;
  static constexpr size_t kTokensKept = 200'000;

 private:
  using Layer = std::tuple<int64_t, int64_t, int64_t>;  // stage, block, layer
  using Counts = std::map<int, int64_t>;                // by expert; most have none when they are many

  const int experts_;
  const int tokens_layer_;
  int experts_seen_ = 0;
  // [step][layer][rank] -> microbatches
  std::map<int64_t, std::map<Layer, std::map<int64_t, std::vector<Counts>>>> counts_;
  std::map<Layer, std::vector<std::vector<uint16_t>>>
      tokens_;  // kept while it is not known which layer it is
};

}  // namespace ballast
