#include "worker/optimizer/memory.h"

#include <algorithm>

#include "base/check.h"

namespace ballast {
namespace {

int64_t HomeElements(const ParameterLayout& layout, const PlanBody& plan, Rank self) {
  int64_t elements = 0;
  for (size_t b = 0; b < plan.homes.size(); ++b) {
    if (plan.homes[b] == self) elements += layout.blocks()[b].elements;
  }
  return elements;
}

// Of one element at its home: state, reduced gradient and updated weight.
size_t HomeElementBytes(const ElementSizes& sizes) { return 4 * sizes.master_bytes + sizes.element_bytes; }

// Of the homes of `self` under `plan`.
size_t HomesBytes(const ParameterLayout& layout, const MemoryShape& shape, const PlanBody& plan, Rank self) {
  return HomeElements(layout, plan, self) * HomeElementBytes(shape.sizes);
}

// Elements of the homes that `self` has under `plan` and not under `other`.
int64_t HomesOnlyIn(const ParameterLayout& layout, const PlanBody& plan, const PlanBody& other, Rank self) {
  int64_t elements = 0;
  for (size_t b = 0; b < plan.homes.size(); ++b) {
    if (plan.homes[b] == self && other.homes[b] != self) elements += layout.blocks()[b].elements;
  }
  return elements;
}

}  // namespace

bool SumsGradients(const ElementSizes& sizes, bool several_microbatches) {
  return several_microbatches && sizes.element_bytes < sizes.master_bytes;
}

MemoryUse ExpectedMemory(const ParameterLayout& layout, const MemoryShape& shape, const PlanBody& next,
                         Rank self) {
  MemoryUse use;
  const int64_t experts = int64_t{layout.layers()} * layout.experts() * layout.expert_elements();
  // Weight, gradient, and the gradient's sum over microbatches.
  const size_t held = 2 * shape.sizes.element_bytes +
                      (SumsGradients(shape.sizes, shape.several_microbatches) ? shape.sizes.master_bytes : 0);
  use.dense = held * (layout.total_elements() - experts);
  use.slots = held * layout.layers() * shape.slots_per_rank * layout.expert_elements();
  use.homes = HomesBytes(layout, shape, next, self);
  use.windows = 2 * shape.window_bytes;
  return use;
}

MemoryUse PeakMemory(const ParameterLayout& layout, const MemoryShape& shape,
                     const std::vector<const PlanBody*>& plans, Rank self) {
  BALLAST_CHECK(!plans.empty());
  MemoryUse peak;
  auto consider = [&](MemoryUse use, size_t homes) {
    use.homes = homes;
    if (use.total() > peak.total()) peak = use;
  };
  size_t kept = 0;  // states that left with the switch to plans[i]
  for (size_t i = 0; i < plans.size(); ++i) {
    const PlanBody& plan = *plans[i];
    const size_t homes = HomesBytes(layout, shape, plan, self);
    consider(ExpectedMemory(layout, shape, plan, self), homes + kept);
    if (i + 1 == plans.size()) break;
    // The last step of `plan`. Kept states are freed before the next ones arrive.
    const PlanBody& next = *plans[i + 1];
    const size_t arriving = HomesOnlyIn(layout, next, plan, self) * HomeElementBytes(shape.sizes);
    consider(ExpectedMemory(layout, shape, next, self), homes + std::max(kept, arriving));
    kept = HomesOnlyIn(layout, plan, next, self) * 3 * shape.sizes.master_bytes;
  }
  return peak;
}

size_t RetainedBytes(const ParameterLayout& layout, const ElementSizes& sizes,
                     const std::vector<const PlanBody*>& plans, Rank self) {
  BALLAST_CHECK(!plans.empty());
  const size_t state_bytes = 3 * sizes.master_bytes;
  size_t most = 0;
  for (size_t i = 0; i < plans.size(); ++i) {
    const size_t homes = HomeElements(layout, *plans[i], self);
    const size_t left = i == 0 ? 0 : HomesOnlyIn(layout, *plans[i - 1], *plans[i], self);
    most = std::max(most, (homes + left) * state_bytes + homes * sizes.master_bytes);
    // Torn in the refresh before the next plan: the step's update is made, so its gradients are of no use.
    const size_t arriving = i + 1 == plans.size() ? 0 : HomesOnlyIn(layout, *plans[i + 1], *plans[i], self);
    most = std::max(most, (homes + arriving) * state_bytes);
  }
  return most;
}

}  // namespace ballast
