// The same input gives the same plan, byte for byte, on every machine and by every compiler: digests of what
// each strategy plans on seeded loads are recorded in golden_plans.txt (BALLAST_REWRITE_PLANS=1 writes it
// anew). That threads change nothing either is shown in strategies_test.cc.
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/rng.h"
#include "coordinator/planner/layer/layer_strategy.h"
#include "coordinator/planner/layer/predictor_bank.h"
#include "plan/plan.h"
#include "tests/base/golden_file.h"

namespace ballast {
namespace {

constexpr int kLooks = 4;

struct Shape {
  std::string name;
  int experts = 0;
  int ranks = 0;
  int slots = 0;
  int ranks_per_node = 0;
  double sync = 0.05;   // flat, in balanced periods
  bool uneven = false;  // slots and speeds differ, and one rank is drained
  bool ports = false;   // tokens over ports are counted
  bool homes = false;   // sync and moves by homes instead of flat prices
};

const Shape kShapes[] = {
    {"flat", 32, 8, 5, 8},
    {"no_spare", 32, 8, 4, 8},
    {"nodes", 32, 16, 3, 8, 0.05, false, true},
    {"uneven", 21, 12, 3, 4, 0.01, true, true},
    {"homes", 32, 8, 6, 4, 0, false, true, true},
    {"large", 256, 64, 5, 8},
};

// Inputs are made of integers alone: what libm rounds otherwise elsewhere must not be taken for a planner
// that does.
std::vector<int64_t> DrawLoad(Rng& rng, int experts) {
  std::vector<int64_t> load;
  for (int e = 0; e < experts; ++e) {
    load.push_back(500'000 / (1 + static_cast<int64_t>(rng.Below(static_cast<uint64_t>(experts)))));
  }
  return load;
}

CoactivationMatrix DrawPairs(Rng& rng, int experts) {
  std::vector<std::vector<int>> choices;
  for (int token = 0; token < 20 * experts; ++token) {
    const int first = static_cast<int>(rng.Below(static_cast<uint64_t>(experts)));
    const int step = 1 + static_cast<int>(rng.Below(static_cast<uint64_t>(experts - 1)) *
                                          rng.Below(static_cast<uint64_t>(experts - 1)) /
                                          static_cast<uint64_t>(experts - 1));
    choices.push_back({first, (first + step) % experts});
  }
  return CountPairs(choices, experts).value();
}

// [rank][expert] tokens of the sequences that each rank has.
CountMatrix DrawSources(Rng& rng, const Shape& shape) {
  CountMatrix sources;
  for (int g = 0; g < shape.ranks; ++g) sources.push_back(DrawLoad(rng, shape.experts));
  return sources;
}

LayerTask DrawTask(Rng& rng, const Shape& shape) {
  LayerTask task = UniformTask(DrawLoad(rng, shape.experts), shape.ranks, shape.slots, shape.ranks_per_node);
  if (!shape.uneven) return task;
  for (size_t g = 0; g < task.slots.size(); ++g) {
    task.slots[g] += static_cast<int>(g % 3) - 1;
    task.speeds[g] = static_cast<uint32_t>(rng.Between(30'000, 70'000));
  }
  task.slots[5] = 0;
  return task;
}

HomePricing PricingOf(const LayerTask& task) {
  HomePricing pricing;
  for (const std::vector<Rank>& hosts : HostsOf(ContiguousTable(task), task.experts()))
    pricing.homes.push_back(EvenHomes(hosts, 6));
  const double weights = 0.1;  // of one expert over a NIC, in balanced periods
  pricing.costs = {1, 0.125, weights, 6 * weights, 6, {}};
  return pricing;
}

// Some looks at loads that drift, each from where the look before has led, as the layers of one plan.
PlanDigest PlannedBy(const LayerStrategy& strategy, const Shape& shape, uint64_t seed) {
  Rng rng(seed);
  LayerTask task = DrawTask(rng, shape);
  const CoactivationMatrix together = DrawPairs(rng, shape.experts);
  const CountMatrix sources = DrawSources(rng, shape);
  SlotTable current = ContiguousTable(task);
  const std::optional<HomePricing> pricing =
      shape.homes ? std::optional(PricingOf(task)) : std::optional<HomePricing>();
  std::vector<int64_t> measured = task.load;
  std::vector<std::vector<int64_t>> recent;
  PredictorBank bank(shape.experts, 2);
  Plan plan;
  plan.body.speeds = task.speeds;
  for (int look = 0; look < kLooks; ++look) {
    for (int row = 0; row < 3; ++row) {
      for (int64_t& load : measured) load = load * rng.Between(80, 130) / 100;
      bank.Observe(measured);
      recent.insert(recent.begin(), measured);
    }
    task.load = bank.Forecast();
    LayerView view{task, current, recent, RelativeCosts(task, shape.sync, 0.02), look == 0};
    view.evaluations_max = 400;
    view.seed = HashSeed({seed, static_cast<uint64_t>(look)});
    view.together = &together;
    if (seed % 2 == 0) view.sources = &sources;
    view.weighed_on_recent = 3;
    if (shape.ports) {
      view.ports.port = 0.3;
      view.costs.ports = view.ports;
      view.costs.ports.port *= view.costs.load;
    }
    if (pricing) view.costs.homes = &*pricing;
    LayerPlan layer;
    if (std::optional<LayerChoice> choice = strategy.Choose(view)) {
      current = std::move(choice->table);
      layer.split.kind = choice->fractions.empty() ? SplitKind::kExact : SplitKind::kFractions;
      layer.split.fractions = std::move(choice->fractions);
    }
    layer.slots = SlotsOf(current);
    plan.body.layers.push_back(std::move(layer));
  }
  return Digest(plan);
}

TEST(GoldenPlans, AreTheSameOnEveryMachine) {
  std::string lines;
  for (const std::string& name : LayerStrategies().Names()) {
    const LayerStrategyPtr strategy = LayerStrategies().Find(name).value();
    for (const Shape& shape : kShapes) {
      for (const uint64_t seed : {uint64_t{1}, uint64_t{2}}) {
        absl::StrAppendFormat(&lines, "%s %s %d %016x\n", name, shape.name, seed,
                              PlannedBy(*strategy, shape, seed).value());
      }
    }
  }
  ExpectGolden(BALLAST_GOLDEN_PLANS, "BALLAST_REWRITE_PLANS", lines);
}

}  // namespace
}  // namespace ballast
