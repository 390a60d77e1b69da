// Without a planted bug every rule holds, whatever the troubles.
#include <cstdint>
#include <iostream>

#include "gtest/gtest.h"
#include "sim/simulation.h"

namespace ballast::sim {
namespace {

constexpr uint64_t kSeedsPerTest = 500;

class Seeds : public testing::TestWithParam<uint64_t> {};

TEST_P(Seeds, AllRulesHold) {
  const uint64_t first = 1 + GetParam() * kSeedsPerTest;
  int64_t steps = 0, plans = 0, generations = 0, rolled_forward = 0, own_updates = 0, resumed = 0;
  RouteFigures routes;
  for (uint64_t seed = first; seed < first + kSeedsPerTest; ++seed) {
    const SimulationResult result = Simulate({.seed = seed, .bug = std::nullopt, .transcript = false});
    ASSERT_FALSE(result.failed()) << result.checker << ": " << result.what << "\nballast-sim --seed " << seed
                                  << " --transcript";
    steps += result.steps;
    plans += result.plans_active;
    generations += result.generations;
    rolled_forward += result.rolled_forward;
    own_updates += result.own_updates;
    resumed += result.resumed;
    routes.Add(result.routes);
  }
  std::cout << kSeedsPerTest << " seeds from " << first << ": " << steps << " steps, " << plans
            << " plans became active, " << generations << " generations, " << rolled_forward
            << " with what their ranks held, " << own_updates << " ranks a step behind, "
            << routes.assignments << " assignments, of which " << routes.travelled << " travelled, "
            << resumed << " jobs resumed\n";
  // A cluster that does nothing breaks no rule either.
  EXPECT_GT(steps, static_cast<int64_t>(20 * kSeedsPerTest));
  EXPECT_GT(plans, static_cast<int64_t>(kSeedsPerTest));
  EXPECT_GT(generations, static_cast<int64_t>(kSeedsPerTest + kSeedsPerTest / 4));
  EXPECT_GT(rolled_forward, static_cast<int64_t>(kSeedsPerTest / 10));
  EXPECT_GT(resumed, static_cast<int64_t>(kSeedsPerTest / 20));
  // One layer each; of a step that a loss interrupts not all ranks have begun.
  EXPECT_GT(routes.layers, steps * 9 / 10);
  EXPECT_GT(routes.assignments, 8 * routes.layers);
  EXPECT_GT(routes.travelled, routes.assignments / 4);
  EXPECT_GT(own_updates, static_cast<int64_t>(kSeedsPerTest / 50));
}

INSTANTIATE_TEST_SUITE_P(Invariants, Seeds, testing::Range<uint64_t>(0, 5));

TEST(Simulation, IsAFunctionOfItsSeed) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const SimulationOptions options{.seed = seed, .bug = std::nullopt, .transcript = true};
    const SimulationResult once = Simulate(options);
    EXPECT_EQ(once.transcript, Simulate(options).transcript) << "seed " << seed;
    EXPECT_GT(once.transcript.size(), 50u) << "seed " << seed;
  }
}

}  // namespace
}  // namespace ballast::sim
