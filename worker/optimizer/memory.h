// How much memory the optimizer part of a rank takes, as a formula. Pure.
#pragma once

#include <cstddef>
#include <vector>

#include "plan/layout.h"
#include "plan/plan.h"
#include "worker/optimizer/window_size.h"

namespace ballast {

// Whether a rank sums the gradients of its microbatches apart from where operations leave them: where it has
// several in a step, and the compute type is narrower than the master type.
bool SumsGradients(const ElementSizes& sizes, bool several_microbatches);

struct MemoryShape {
  ElementSizes sizes;
  int slots_per_rank = 0;
  bool several_microbatches = false;  // a rank's in a step
  size_t window_bytes = 0;            // of each of the two windows, for the whole generation (WindowBytes)
};

struct MemoryUse {
  size_t dense = 0;    // dense weights, gradients and their sums: a full copy on every rank
  size_t slots = 0;    // the same of expert slots, filled or not
  size_t homes = 0;    // owned blocks: state, reduced gradient, updated weights
  size_t windows = 0;  // messages being sent and received
  size_t total() const { return dense + slots + homes + windows; }
  MemoryUse& operator+=(const MemoryUse& other) {
    dense += other.dense;
    slots += other.slots;
    homes += other.homes;
    windows += other.windows;
    return *this;
  }
};

// Of `self` in a step that is followed by one that runs `next`, after its refresh. States
// that a home keeps for two more steps after they moved away are not included.
MemoryUse ExpectedMemory(const ParameterLayout& layout, const MemoryShape& shape, const PlanBody& next,
                         Rank self);

// The most that `self` holds at one time while it runs `plans`, one after the other, each for at least two
// steps. Beside the two plans of a switch themselves that is the step between them: homes that arrive while
// those that leave are still there, and states that are kept after they left. The answer has the parts at
// that time; arriving homes and kept states count as homes. Requires a plan.
MemoryUse PeakMemory(const ParameterLayout& layout, const MemoryShape& shape,
                     const std::vector<const PlanBody*>& plans, Rank self);

// The most that Optimizer::Release copies of the homes of `self` to the host's memory when a generation ends
// while it runs `plans` in that way: states, those that are kept after they left among them, and the reduced
// gradients of a step that is not applied yet. A block that left and comes back counts twice. The rows of the
// last two steps, 8 bytes per block and sequence, are not included.
size_t RetainedBytes(const ParameterLayout& layout, const ElementSizes& sizes,
                     const std::vector<const PlanBody*>& plans, Rank self);

}  // namespace ballast
