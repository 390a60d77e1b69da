// What holds for every strategy, and what each is known for.

#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>
#include <tuple>

#include "coordinator/planner/layer/bounds.h"
#include "coordinator/planner/layer/exchange.h"
#include "coordinator/planner/layer/layer_strategy.h"
#include "tests/planner/layer/checkers.h"

namespace ballast {
namespace {

using testing::LognormalLoad;
using testing::RandomTable;
using testing::RandomTask;

CoactivationMatrix RandomPairs(Rng& rng, int experts) {
  std::vector<std::vector<int>> choices;
  for (int t = 0; t < 40 && experts > 1; ++t) {
    const int a = static_cast<int>(rng.Below(static_cast<uint64_t>(experts)));
    choices.push_back(
        {a, (a + 1 + static_cast<int>(rng.Below(static_cast<uint64_t>(experts - 1)))) % experts});
  }
  return CountPairs(choices, experts).value();
}

// What each rank's sequences choose.
CountMatrix RandomSources(Rng& rng, const LayerTask& task) {
  CountMatrix sources(static_cast<size_t>(task.ranks()));
  for (std::vector<int64_t>& row : sources) {
    for (int e = 0; e < task.experts(); ++e) row.push_back(rng.Chance(0.3) ? rng.Between(0, 1000) : 0);
  }
  return sources;
}

constexpr int kParts = 2;

// Random cases of one strategy, every kParts-th from `part` on: its plans are valid, keep indices, and do not
// depend on anything hidden.
void CheckStrategy(const std::string& name, int part, int cases) {
  const uint64_t seed = 51;
  SCOPED_TRACE(::testing::Message() << name << ", seed " << seed);
  const LayerStrategyPtr strategy = LayerStrategies().Find(name).value();
  int proposals = 0;
  for (int i = part; i < cases; i += kParts) {
    Rng rng(HashSeed({seed, name.size(), static_cast<uint64_t>(name[0]), static_cast<uint64_t>(i)}));
    LayerTask task = RandomTask(rng, 16, 8, 2);
    const SlotTable current = RandomTable(rng, task);
    const CoactivationMatrix together = RandomPairs(rng, task.experts());
    std::vector<std::vector<int64_t>> recent;
    for (uint64_t n = rng.Below(3); n > 0; --n) {
      recent.push_back(task.load);
      for (int64_t& load : recent.back()) load += load * rng.Between(-30, 30) / 100;
    }
    const bool sync = rng.Chance(0.5);
    LayerView view{task, current, recent, RelativeCosts(task, sync ? 0.1 : 0, 0.02), rng.Chance(0.3)};
    view.evaluations_max = 300;
    view.ports.rails = rng.Chance(0.7);
    if (rng.Chance(0.1)) {
      view.costs.ports = view.ports;
      view.costs.ports.port = view.costs.load;
    }
    view.seed = rng.Next();
    if (rng.Chance(0.5)) view.together = &together;
    const CountMatrix sources = RandomSources(rng, task);
    if (rng.Chance(0.5)) view.sources = &sources;
    const std::optional<LayerChoice> choice = strategy->Choose(view);
    if (!choice) continue;
    ++proposals;
    ASSERT_TRUE(CheckTable(task, choice->table).ok())
        << "case " << i << ": " << CheckTable(task, choice->table);
    for (size_t g = 0; g < current.size(); ++g) {
      for (size_t k = 0; k < current[g].size(); ++k) {
        if (current[g][k] == kNoExpert || !Holds(choice->table[g], current[g][k])) continue;
        ASSERT_EQ(choice->table[g][k], current[g][k])
            << "case " << i << ": an expert that stays changes its slot";
      }
    }
    const std::optional<LayerChoice> again = strategy->Choose(view);
    ASSERT_TRUE(again && again->table == choice->table && again->fractions == choice->fractions);
    if (choice->fractions.empty()) continue;
    std::vector<int64_t> parts(task.load.size(), 0);
    for (size_t g = 0; g < choice->table.size(); ++g) {
      ASSERT_EQ(choice->fractions[g].size(), choice->table[g].size());
      for (size_t k = 0; k < choice->table[g].size(); ++k) {
        if (choice->table[g][k] != kNoExpert) parts[choice->table[g][k]] += choice->fractions[g][k];
      }
    }
    for (int64_t part : parts) ASSERT_EQ(part, 65536);
  }
  if (name == "contiguous") {
    EXPECT_EQ(proposals, 0);
  } else {
    EXPECT_GT(proposals, cases / kParts / 20);
  }
}

// Tests of their own, so that processes can share them: with GTEST_TOTAL_SHARDS=kParts each has a part of
// every strategy.
class AnyStrategy : public ::testing::TestWithParam<std::tuple<std::string, int>> {};

// BALLAST_PROPERTY_SCALE=10 is the full run (scripts/properties): more than 100,000 cases, 500 of each slow
// strategy.
TEST_P(AnyStrategy, PlansAreValid) {
  const auto& [name, part] = GetParam();
  const char* const wanted = std::getenv("BALLAST_PROPERTY_SCALE");
  const int scale = wanted ? std::max(1, std::atoi(wanted)) : 1;
  const bool slow = name == "genetic" || name == "kmeans";
  CheckStrategy(name, part, scale * (slow ? 50 : 1000));
}

INSTANTIATE_TEST_SUITE_P(Strategies, AnyStrategy,
                         ::testing::Combine(::testing::ValuesIn(LayerStrategies().Names()),
                                            ::testing::Range(0, kParts)),
                         [](const auto& of) {
                           return std::get<0>(of.param) + "_" + std::to_string(std::get<1>(of.param));
                         });

TEST(Strategies, PlansAreTheSameOnAnyNumberOfThreads) {
  const uint64_t seed = 55;
  SCOPED_TRACE(seed);
  struct Case {
    LayerTask task;
    SlotTable current;
    CoactivationMatrix together;
    CountMatrix sources;
    std::vector<std::vector<int64_t>> recent;
  };
  Rng rng(seed);
  std::vector<Case> cases;
  for (int i = 0; i < 24; ++i) {
    Case c;
    c.task = RandomTask(rng, 24, 8, 2);
    c.current = RandomTable(rng, c.task);
    c.together = RandomPairs(rng, c.task.experts());
    c.sources = RandomSources(rng, c.task);
    c.recent = {c.task.load};
    cases.push_back(std::move(c));
  }
  const auto plan = [&](const std::string& name, size_t i) {
    const Case& c = cases[i];
    LayerView view{c.task, c.current, c.recent, RelativeCosts(c.task, 0.05, 0.02), i % 2 == 0};
    view.evaluations_max = 300;
    view.seed = i;
    view.together = &c.together;
    if (i % 2) view.sources = &c.sources;
    const std::optional<LayerChoice> choice = LayerStrategies().Find(name).value()->Choose(view);
    return choice ? std::make_pair(choice->table, choice->fractions)
                  : std::make_pair(SlotTable(), std::vector<std::vector<uint32_t>>());
  };
  for (const std::string& name : LayerStrategies().Names()) {
    for (const size_t threads : {size_t{1}, size_t{3}, size_t{8}}) {
      std::vector<std::pair<SlotTable, std::vector<std::vector<uint32_t>>>> plans(cases.size());
      std::vector<std::thread> pool;
      for (size_t t = 0; t < threads; ++t) {
        pool.emplace_back([&, t] {
          for (size_t i = t; i < cases.size(); i += threads) plans[i] = plan(name, i);
        });
      }
      for (std::thread& thread : pool) thread.join();
      for (size_t i = 0; i < cases.size(); ++i) ASSERT_EQ(plans[i], plan(name, i)) << name << ", case " << i;
    }
  }
}

TEST(Strategies, EplbOnThePublishedExample) {
  const LayerTask task = UniformTask({600, 560, 120, 120, 20, 10, 10, 10}, 8, 2, 8);
  const SlotTable current = ContiguousTable(task);
  const LayerChoice choice = LayerStrategies().Find("eplb").value()->Choose({task, current, {}, {}}).value();
  // 600 on five copies, 560 on four, 120 twice on two: heaviest rank 120 + ... = 232 as published by FlashLB.
  double most = 0;
  for (size_t g = 0; g < 8; ++g) {
    double load = 0;
    for (size_t i = 0; i < 2; ++i) {
      const int e = choice.table[g][i];
      if (e != kNoExpert) load += static_cast<double>(task.load[e]) * choice.fractions[g][i] / 65536;
    }
    most = std::max(most, load);
  }
  EXPECT_NEAR(most, 232, 1);
}

TEST(Strategies, HierarchicalEplbKeepsCopiesInsideNodes) {
  Rng rng(52);
  const LayerTask task = UniformTask(LognormalLoad(rng, 32, 1), 8, 6, 4);
  const SlotTable current = ContiguousTable(task);
  const LayerChoice choice =
      LayerStrategies().Find("eplb_hierarchical").value()->Choose({task, current, {}, {}}).value();
  for (const auto& hosts : HostsOf(choice.table, 32)) {
    for (Rank host : hosts) EXPECT_EQ(host.value() / 4, hosts[0].value() / 4);
  }
}

TEST(Strategies, SmartMoeMovesOnlyWhenTheLargestLoadFalls) {
  const LayerTask task = UniformTask({10, 10, 1, 1}, 2, 2, 2);
  const SlotTable uneven = {{0, 1}, {2, 3}};
  const LayerStrategyPtr smartmoe = LayerStrategies().Find("smartmoe").value();
  const std::optional<LayerChoice> choice = smartmoe->Choose({task, uneven, {}, {}});
  ASSERT_TRUE(choice);
  EXPECT_NEAR(PlacedBound(task, choice->table) * 65536, 11, 1e-9);
  EXPECT_FALSE(smartmoe->Choose({task, choice->table, {}, {}}));
  // It plans from what was measured last, not from the forecast.
  EXPECT_FALSE(smartmoe->Choose({task, uneven, {{5, 5, 5, 5}}, {}}));
}

TEST(Strategies, LptSwapIsNearTheBoundWithoutCopies) {
  const uint64_t seed = 53;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  double ratio = 0;
  for (int i = 0; i < 20; ++i) {
    const LayerTask task = UniformTask(LognormalLoad(rng, 64, 0.4), 8, 8, 8);
    const SlotTable table = Exchange(task, LongestFirst(task, nullptr), ExchangeOptions());
    ASSERT_TRUE(CheckTable(task, table).ok());
    ratio += PlacedBound(task, table) / NoReplicaBound(task) / 20;
  }
  EXPECT_LE(ratio, 1.005);
}

TEST(Strategies, AutoWaitsUntilTheLossHasPaidForTheWrites) {
  const LayerTask task = UniformTask({10'000, 1'000, 1'000, 1'000}, 4, 2, 4);
  const SlotTable current = {{0, kNoExpert}, {1, kNoExpert}, {2, kNoExpert}, {3, kNoExpert}};
  const LayerStrategyPtr planner = LayerStrategies().Find("auto").value();
  std::vector<std::vector<int64_t>> recent;
  int waited = 0;
  // Two of the four slots that a rank can receive cost 2 x 3 balanced periods at most; each period loses
  // about 2.
  for (; waited < 20; ++waited) {
    recent.push_back(task.load);
    LayerView view{task, current, recent, RelativeCosts(task, 0, 4)};
    if (planner->Choose(view)) break;
  }
  EXPECT_GE(waited, 1);
  EXPECT_LE(waited, 4);
  LayerView cheap{task, current, recent, RelativeCosts(task, 0, 0.01)};
  recent.resize(1);
  EXPECT_TRUE(planner->Choose(cheap));
}

TEST(Strategies, AutoUsesFewerCopiesWhereSyncCosts) {
  const uint64_t seed = 54;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  const LayerStrategyPtr planner = LayerStrategies().Find("auto").value();
  double with_sync = 0, without = 0;
  for (int i = 0; i < 10; ++i) {
    const LayerTask task = UniformTask(LognormalLoad(rng, 32, 1), 16, 3, 8);
    const SlotTable current = ContiguousTable(task);
    const std::vector<std::vector<int64_t>> recent = {task.load, task.load};
    const LayerCosts costs = RelativeCosts(task, 0.2, 0.01);
    LayerView view{task, current, recent, costs, true};
    const LayerChoice aware = planner->Choose(view).value();
    view.costs.sync = 0;
    const LayerChoice blind = planner->Choose(view).value();
    with_sync += Objective(task, aware.table, costs);
    without += Objective(task, blind.table, costs);
  }
  EXPECT_LT(with_sync, 0.97 * without);
}

}  // namespace
}  // namespace ballast
