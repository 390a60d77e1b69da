#include "tests/worker/trainer/moving_plans.h"

#include <algorithm>
#include <memory>

#include "base/check.h"
#include "base/rng.h"
#include "plan/diff.h"
#include "plan/home_moves.h"
#include "plan/validate.h"
#include "tests/worker/trainer/training_run.h"

namespace ballast {
namespace {

// Deals every expert to a random rank with room and, with `extra`, the free slots to further random experts.
// An expert that stays on a rank keeps its index.
void DealSlots(Rng& rng, int experts, bool extra, LayerPlan& layer) {
  const std::vector<std::vector<Slot>> before = layer.slots;
  const int ranks = static_cast<int>(before.size());
  const int slots = static_cast<int>(before[0].size());
  std::vector<std::vector<ExpertId>> held(ranks);
  auto place = [&](ExpertId expert) {
    std::vector<int> free;
    for (int r = 0; r < ranks; ++r) {
      bool there = std::find(held[r].begin(), held[r].end(), expert) != held[r].end();
      if (static_cast<int>(held[r].size()) < slots && !there) free.push_back(r);
    }
    if (!free.empty()) held[free[rng.Below(free.size())]].push_back(expert);
  };
  for (int e = 0; e < experts; ++e) place(ExpertId(e));
  for (int i = 0; extra && i < 4; ++i) place(ExpertId(static_cast<int>(rng.Below(experts))));
  for (int r = 0; r < ranks; ++r) {
    layer.slots[r].assign(slots, Slot());
    for (ExpertId expert : held[r]) {
      auto old = std::find(before[r].begin(), before[r].end(), Slot(expert));
      if (old != before[r].end()) layer.slots[r][old - before[r].begin()] = expert;
    }
    for (ExpertId expert : held[r]) {
      auto& row = layer.slots[r];
      if (std::find(row.begin(), row.end(), Slot(expert)) == row.end()) {
        *std::find(row.begin(), row.end(), Slot()) = expert;
      }
    }
  }
}

}  // namespace

PlanScript MakePlans(const JobConfig& job, int ranks, int count, bool replicate, uint64_t seed) {
  const ParameterLayout layout = LayoutOf(job);
  const PlanLimits limits = LimitsFor(job, layout, ranks);
  Rng rng(seed);
  PlanScript script;
  PlanPtr previous = FirstPlan(job, layout, ranks);
  for (int i = 0; i < count; ++i) {
    auto plan = std::make_shared<Plan>(*previous);
    plan->stamp.version = PlanVersion(2 + i);
    plan->stamp.base_version = previous->stamp.version;
    plan->stamp.not_before_step = Step(4 + 4 * i);
    for (LayerPlan& layer : plan->body.layers) DealSlots(rng, layout.experts(), replicate, layer);
    if (i % 3 == 1) {
      std::vector<Rank> wanted = PreferredHomes(plan->body, layout);
      for (size_t b = 0; b < wanted.size(); ++b) {
        bool dense = !layout.parameter_of(BlockId(static_cast<int>(b))).expert.has_value();
        if (dense && rng.Chance(0.3)) wanted[b] = Rank(static_cast<int>(rng.Below(ranks)));
      }
      plan->body.homes = BoundHomeMoves(previous->body.homes, wanted, layout, limits);
    }
    BALLAST_CHECK_OK(ValidatePlan(plan->body, layout, limits));
    BALLAST_CHECK_OK(ValidateTransition(previous->body, plan->body, layout, limits));
    PlanDiff diff = Diff(previous->body, plan->body, layout);
    script.with_home_moves += !diff.home_moves.empty();
    script.slot_writes += static_cast<int>(diff.slot_writes.size());
    BALLAST_CHECK(!diff.slot_writes.empty());
    script.plans.push_back(plan);
    previous = plan;
  }
  return script;
}

}  // namespace ballast
