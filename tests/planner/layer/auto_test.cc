// auto, beside what strategies_test.cc asks of every strategy.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

#include "coordinator/planner/layer/layer_strategy.h"
#include "coordinator/planner/layer/objective.h"
#include "tests/planner/layer/checkers.h"

namespace ballast {
namespace {

struct Case {
  LayerTask task;
  SlotTable current;
  std::vector<std::vector<int64_t>> recent;
  LayerCosts costs;
  bool anew = false;
  size_t weighed_on_recent = 0;
  uint64_t seed = 0;
};

// Ranks of as many slots each, but for one that may be drained; nodes of two ranks.
Case DrawCase(Rng& rng, HomePricing& pricing) {
  const int ranks = 2 * static_cast<int>(rng.Between(2, 4)), slots = static_cast<int>(rng.Between(2, 4));
  const int experts = static_cast<int>(rng.Between(ranks, (ranks - 1) * slots));
  Case drawn;
  drawn.task = UniformTask(testing::LognormalLoad(rng, experts, 1), ranks, slots, 2);
  for (uint32_t& speed : drawn.task.speeds) speed = static_cast<uint32_t>(rng.Between(40'000, 65'536));
  if (rng.Chance(0.3)) drawn.task.slots[rng.Below(static_cast<uint64_t>(ranks))] = 0;
  drawn.current = rng.Chance(0.5) ? ContiguousTable(drawn.task) : testing::RandomTable(rng, drawn.task);
  for (int i = 0; i < 5; ++i) {
    drawn.recent.push_back(drawn.task.load);
    for (int64_t& load : drawn.recent.back()) load = load * rng.Between(80, 120) / 100;
  }
  const double sync[] = {0, 0.01, 0.1};
  drawn.costs = RelativeCosts(drawn.task, sync[rng.Below(3)], 0.02);
  if (rng.Chance(0.3)) drawn.costs.ports.port = 0.5 * drawn.costs.load;
  if (rng.Chance(0.3)) {
    for (const std::vector<Rank>& hosts : HostsOf(drawn.current, experts))
      pricing.homes.push_back(EvenHomes(hosts, 4));
    pricing.costs = {1, 0.125, 0.05, 0.3, 4, {}};
    drawn.costs.homes = &pricing;
  }
  drawn.anew = rng.Chance(0.5);
  drawn.weighed_on_recent = rng.Chance(0.5) ? 5 : 0;
  drawn.seed = rng.Next();
  return drawn;
}

// J of what auto decides when ranks that have slots have `more` of them.
double Decided(const Case& drawn, int more) {
  LayerTask task = drawn.task;
  SlotTable current = drawn.current;
  for (size_t g = 0; g < current.size(); ++g) {
    if (task.slots[g] == 0) continue;
    task.slots[g] += more;
    current[g].resize(static_cast<size_t>(task.slots[g]), kNoExpert);
  }
  LayerView view{task, current, drawn.recent, drawn.costs, drawn.anew};
  view.weighed_on_recent = drawn.weighed_on_recent;
  view.ports.port = 0.5;
  view.seed = drawn.seed;
  view.evaluations_max = 500;
  const std::optional<LayerChoice> choice = LayerStrategies().Find("auto").value()->Choose(view);
  const SlotTable& table = choice ? choice->table : current;
  return WeighParts(task, drawn.recent, drawn.weighed_on_recent, current, table, drawn.costs).total();
}

// What can be done in fewer slots can be done in more: on the same loads and from the same placement a
// decision never gets dearer by slots that it may leave empty.
TEST(Auto, MoreSlotsNeverRaiseJ) {
  const uint64_t seed = 61;
  Rng rng(seed);
  int lower = 0;
  for (int i = 0; i < 100; ++i) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed << ", case " << i);
    HomePricing pricing;
    const Case drawn = DrawCase(rng, pricing);
    double before = Decided(drawn, 0);
    for (int more = 1; more <= 3; ++more) {
      const double after = Decided(drawn, more);
      EXPECT_LE(after, before * (1 + 1e-12)) << more << " slots more";
      lower += after < before;
      before = after;
    }
  }
  EXPECT_GE(lower, 30) << "some slots are of use";
}

// A change whose writes do not pay yet does not keep another from being made that does.
TEST(Auto, TakesTheBestOfWhatPays) {
  const uint64_t seed = 62;
  Rng rng(seed);
  int best_waits = 0;
  for (int i = 0; i < 200; ++i) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed << ", case " << i);
    HomePricing pricing;
    Case drawn = DrawCase(rng, pricing);
    drawn.recent.resize(1);
    drawn.costs.write = 0.4 * rng.Uniform();
    LayerView view{drawn.task, drawn.current, drawn.recent, drawn.costs, true};
    view.ports.port = 0.5;
    view.evaluations_max = 500;
    std::vector<LayerCandidate> weighed;
    view.weighed = &weighed;
    const std::optional<LayerChoice> choice = LayerStrategies().Find("auto").value()->Choose(view);
    if (!choice) continue;
    const double cost = WeighParts(drawn.task, {}, 0, drawn.current, choice->table, drawn.costs).total();
    LayerTask measured = drawn.task;
    measured.load = drawn.recent[0];
    LayerCosts costs = drawn.costs;  // of the forecast's units of load
    const double scale =
        static_cast<double>(drawn.task.total_load()) / static_cast<double>(measured.total_load());
    costs.load *= scale;
    costs.ports.port *= scale;
    const double writes = SwitchCost(drawn.task, drawn.current, choice->table, drawn.costs);
    if (writes > 0) {
      EXPECT_LE(writes,
                Objective(measured, drawn.current, costs) - Objective(measured, choice->table, costs) + 1e-9);
    }
    best_waits += std::any_of(weighed.begin(), weighed.end(), [cost](const LayerCandidate& candidate) {
      return candidate.cost < cost - 1e-9;
    });
  }
  EXPECT_GE(best_waits, 3) << "nothing better ever had to wait";
}

}  // namespace
}  // namespace ballast
