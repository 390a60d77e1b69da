// Each rule that keeps the switch safe is broken on purpose, one at a time: the checkers must see it.
#include <cctype>
#include <cstdint>
#include <iostream>
#include <string>

#include "gtest/gtest.h"
#include "sim/simulation.h"

namespace ballast::sim {
namespace {

constexpr uint64_t kSeedsMax = 2000;

class Plant : public testing::TestWithParam<std::string> {};

TEST_P(Plant, IsFound) {
  const PlantedBugs bug = PlantByName(GetParam());
  ASSERT_TRUE(bug.has_value());
  SimulationResult result;
  uint64_t seed = 0;
  while (!result.failed() && seed < kSeedsMax)
    result = Simulate({.seed = ++seed, .bug = bug, .transcript = false});
  ASSERT_TRUE(result.failed()) << "not found within " << kSeedsMax << " seeds";
  std::cout << GetParam() << ": found after " << seed << " seeds by " << result.checker << ": " << result.what
            << "\n";

  // A step that is trained twice, or from parts of different steps, is seen in the updates themselves.
  if (*bug == PlantedBug::kUnpublishedLoaded || *bug == PlantedBug::kResumedEarlier ||
      *bug == PlantedBug::kRolledToLowest || *bug == PlantedBug::kOwnUpdateSkipped) {
    EXPECT_EQ(result.checker, "update") << result.what;
  }

  // All ranks are at one plan then, so that nothing but the routes themselves can tell.
  if (*bug == PlantedBug::kRouteOfStepBefore) {
    EXPECT_EQ(result.checker, "I5") << result.what;
  }

  // The seed alone finds it again, its transcript ends with it, and the bug alone is to blame.
  const SimulationResult again = Simulate({.seed = seed, .bug = bug, .transcript = true});
  EXPECT_EQ(again.checker, result.checker);
  EXPECT_EQ(again.what, result.what);
  ASSERT_FALSE(again.transcript.empty());
  EXPECT_NE(again.transcript.back().find("VIOLATION of " + result.checker), std::string::npos)
      << again.transcript.back();
  EXPECT_FALSE(Simulate({.seed = seed, .bug = std::nullopt, .transcript = false}).failed());
}

INSTANTIATE_TEST_SUITE_P(PlantedBugs, Plant, testing::ValuesIn(PlantNames()),
                         [](const testing::TestParamInfo<std::string>& info) {
                           std::string name;
                           for (char c : info.param)
                             name += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
                           return name;
                         });

TEST(PlantNames, AreTwentyThree) { EXPECT_EQ(PlantNames().size(), 23u); }

}  // namespace
}  // namespace ballast::sim
