// LoadTrace: recorded expert loads, and the only way for a planner to look at them: what lies before a step.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "replay/npy.h"

namespace ballast {

// Tokens by [step][layer][microbatch][expert], summed over sources. Immutable.
class LoadTrace {
 public:
  // From an array [step][layer][microbatch][expert] or [step][layer][microbatch][source][expert].
  // InvalidArgument: another number of dimensions, an empty one, or a count that is negative or, summed over
  // a layer, above kTokensMax; with its place.
  static absl::StatusOr<LoadTrace> FromArray(const NpyArray& array);
  // From values in C order; requires the product of the sizes, none negative.
  LoadTrace(int steps, int layers, int microbatches, int experts, std::vector<int64_t> tokens);

  int steps() const { return steps_; }
  int layers() const { return layers_; }
  int microbatches() const { return microbatches_; }
  int experts() const { return experts_; }

  // By expert.
  std::vector<int64_t> Microbatch(int step, int layer, int microbatch) const;
  // By expert, summed over microbatches.
  std::vector<int64_t> Sample(int step, int layer) const;

 private:
  const int64_t* Row(int step, int layer, int microbatch) const;

  int steps_ = 0, layers_ = 0, microbatches_ = 0, experts_ = 0;
  std::vector<int64_t> tokens_;
};

// What is known when the plan for `step` is made. Asking for anything else ends the process.
class PastLoads {
 public:
  PastLoads(const LoadTrace& trace, int step) : trace_(trace), step_(step) {}
  int step() const { return step_; }
  // Requires age >= 1 and age <= step(): 1 is the newest step that is over.
  std::vector<int64_t> Sample(int layer, int age) const;

 private:
  const LoadTrace& trace_;
  const int step_;
};

}  // namespace ballast
